-- A unique key on a whole text, which MariaDB keeps by hash.
CREATE TABLE key_long_unique (id int NOT NULL PRIMARY KEY, t text NOT NULL, b blob, UNIQUE KEY u (t), UNIQUE KEY w (b));
INSERT INTO key_long_unique VALUES (1, REPEAT('a', 5000), NULL), (2, REPEAT('b', 5000), x'00'), (3, '', x'ff');
