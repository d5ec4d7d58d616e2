-- A column of texts put together, which a strict server takes for nullable.
CREATE TABLE vs_t (id int NOT NULL PRIMARY KEY, a varchar(9) NOT NULL, b varchar(9) NOT NULL); INSERT INTO vs_t VALUES (1, 'a', 'b');
CREATE VIEW vs_view AS SELECT CONCAT(a, '_', IFNULL(b, 0)) AS pair, IF(a = 'a', 1, NULL) AS one, COALESCE(a, b, 'x') AS c, SUM(id) AS s FROM vs_t GROUP BY a, b;
