-- Keys on the beginning of long columns.
CREATE TABLE key_prefix (a text NOT NULL, b blob NOT NULL, c varchar(500), PRIMARY KEY (a(20), b(10)), KEY i (c(50)), UNIQUE KEY u (c(30), a(5)));
INSERT INTO key_prefix VALUES ('aaa', 'bbb', 'ccc'), (REPEAT('a', 1000), REPEAT('b', 1000), REPEAT('c', 400)), ('', '', NULL);
