-- One UPDATE and one DELETE over several tables.
CREATE TABLE w2_a (id int NOT NULL PRIMARY KEY, v int); CREATE TABLE w2_b (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, a int, v int); INSERT INTO w2_a VALUES (1, 1), (2, 2), (3, 3); INSERT INTO w2_b (a, v) VALUES (1, 1), (2, 2), (3, 3);
