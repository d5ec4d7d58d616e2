-- A primary key whose order goes down.
CREATE TABLE key_primary_descending (a int NOT NULL, b bigint NOT NULL, PRIMARY KEY (a DESC, b));
INSERT INTO key_primary_descending VALUES (1, 1), (2, 1), (2, -5), (3, 9);
