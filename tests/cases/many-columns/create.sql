-- A table of 300 columns.
DELIMITER //
CREATE PROCEDURE make_columns() BEGIN DECLARE n int DEFAULT 0; SET @t = 'CREATE TABLE many_columns (id int NOT NULL PRIMARY KEY';
WHILE n < 300 DO SET @t = CONCAT(@t, ', c', n, ' ', ELT(n % 5 + 1, 'int', 'varchar(20)', 'datetime', 'double', 'bigint unsigned NOT NULL DEFAULT 7')); SET n = n + 1; END WHILE;
SET @t = CONCAT(@t, ')'); PREPARE s FROM @t; EXECUTE s; END//
DELIMITER ;
CALL make_columns(); DROP PROCEDURE make_columns;
INSERT INTO many_columns (id, c0, c1, c299) VALUES (1, 1, 'a', 9), (2, NULL, NULL, 18446744073709551615);
