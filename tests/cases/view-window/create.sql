-- Window functions and a common table expression in a view.
CREATE TABLE vx_t (id int NOT NULL PRIMARY KEY, g int, v int); INSERT INTO vx_t VALUES (1, 1, 10), (2, 1, 20), (3, 2, 5);
CREATE VIEW vx_view AS WITH s AS (SELECT g, v FROM vx_t) SELECT g, v, ROW_NUMBER() OVER (PARTITION BY g ORDER BY v DESC) AS r FROM s;
