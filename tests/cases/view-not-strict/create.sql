-- The same, made by a session that is not strict.
SET sql_mode = '';
CREATE TABLE vn_t (id int NOT NULL PRIMARY KEY, a varchar(9) NOT NULL, b varchar(9) NOT NULL); INSERT INTO vn_t VALUES (1, 'a', 'b');
CREATE VIEW vn_view AS SELECT CONCAT(a, '_', IFNULL(b, 0)) AS pair, CAST(a AS unsigned) AS n FROM vn_t;
