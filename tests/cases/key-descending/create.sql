-- A key whose order goes down.
CREATE TABLE key_descending (id int NOT NULL PRIMARY KEY, a int, b int, KEY i (a DESC, b), KEY j (b DESC));
INSERT INTO key_descending VALUES (1, 1, 1), (2, 2, 2), (3, NULL, NULL);
