-- A comma before outer joins, as CloudStack has it: servers print it with other brackets each time that it is made.
CREATE TABLE vc_a (id int NOT NULL PRIMARY KEY, n int); CREATE TABLE vc_b (id int NOT NULL PRIMARY KEY, a int); CREATE TABLE vc_c (id int NOT NULL PRIMARY KEY, b int);
INSERT INTO vc_a VALUES (1, 1), (2, 2); INSERT INTO vc_b VALUES (1, 1); INSERT INTO vc_c VALUES (1, 1), (2, 9);
CREATE VIEW vc_view AS SELECT vc_a.id, vc_a.n, vc_b.id AS b, vc_c.id AS c FROM vc_c, vc_a INNER JOIN vc_b x ON x.a = vc_a.id LEFT JOIN vc_b ON vc_b.a = vc_a.id AND (vc_b.id IS NOT NULL OR vc_b.id > 1) LEFT JOIN vc_a y ON y.id = vc_b.id;
