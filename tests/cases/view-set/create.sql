-- UNION, subqueries and derived tables in a view.
CREATE TABLE vu_t (id int NOT NULL PRIMARY KEY, v int); INSERT INTO vu_t VALUES (1, 1), (2, 2);
CREATE VIEW vu_view AS (SELECT id, 'a' AS k FROM vu_t WHERE v = (SELECT MIN(v) FROM vu_t)) UNION ALL (SELECT d.id, 'b' FROM (SELECT id, v + 1 AS w FROM vu_t) d WHERE EXISTS (SELECT 1 FROM vu_t x WHERE x.v = d.w)) ORDER BY id, k;
