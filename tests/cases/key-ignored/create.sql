-- A key that the optimizer does not look at, and a hidden column, MariaDB.
CREATE TABLE key_ignored (id int NOT NULL PRIMARY KEY, a int, b int INVISIBLE DEFAULT 5, KEY i (a) IGNORED);
INSERT INTO key_ignored (id, a, b) VALUES (1, 1, 9), (2, 2, DEFAULT);
