-- Rows that refer to nothing, written while checks were off.
CREATE TABLE orphan_parents (id int NOT NULL PRIMARY KEY); CREATE TABLE orphans (id int NOT NULL PRIMARY KEY, p int, CONSTRAINT fk_orphans FOREIGN KEY (p) REFERENCES orphan_parents (id));
SET foreign_key_checks = 0; INSERT INTO orphan_parents VALUES (1); INSERT INTO orphans VALUES (1, 1), (2, 99), (3, NULL);
