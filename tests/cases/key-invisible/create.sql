-- A key that the optimizer does not look at, MySQL.
CREATE TABLE key_invisible (id int NOT NULL PRIMARY KEY, a int, b int INVISIBLE DEFAULT 5, KEY i (a) INVISIBLE);
INSERT INTO key_invisible (id, a, b) VALUES (1, 1, 9), (2, 2, DEFAULT);
