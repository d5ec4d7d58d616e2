-- A procedure made under ANSI_QUOTES, where "x" is a name.
CREATE TABLE ra_t (id int NOT NULL PRIMARY KEY, v int); INSERT INTO ra_t VALUES (1, 1);
SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES';
DELIMITER //
CREATE PROCEDURE ra_go() BEGIN UPDATE "ra_t" SET "v" = "v" + 1; SELECT 'a\' || 'b'; END//
DELIMITER ;
