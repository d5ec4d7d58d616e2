-- Brackets that matter: AND, OR, NOT, BETWEEN and minus.
CREATE TABLE vb_t (a int, b int, c int, id int NOT NULL PRIMARY KEY); INSERT INTO vb_t VALUES (1, 0, 1, 1), (0, 1, 0, 2), (NULL, 1, 1, 3);
CREATE VIEW vb_view AS SELECT id, a - (b - c) AS x, (a - b) - c AS y, NOT (a = b) AS n, -(a) AS m, a BETWEEN b AND c + 1 AS w FROM vb_t WHERE (a = 1 OR b = 1) AND c >= 0 OR (a IS NULL AND (b = 1 AND c = 1));
