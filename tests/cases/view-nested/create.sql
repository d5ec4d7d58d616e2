-- Views of views, whose names come in the wrong order.
CREATE TABLE vw_t (id int NOT NULL PRIMARY KEY, v int); INSERT INTO vw_t VALUES (1, 1), (2, 2), (3, NULL);
CREATE VIEW vw_z AS SELECT id, v FROM vw_t WHERE v IS NOT NULL; CREATE VIEW vw_m AS SELECT z.id, z.v * 2 AS w FROM vw_z z; CREATE VIEW vw_a AS SELECT m.w, COUNT(*) AS n FROM vw_m m JOIN vw_z USING (id) GROUP BY m.w;
