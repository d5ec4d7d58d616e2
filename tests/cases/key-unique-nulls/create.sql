-- Unique keys with many NULLs, and one that is the only key.
CREATE TABLE key_unique_nulls (a int, b int, UNIQUE KEY u (a, b));
INSERT INTO key_unique_nulls VALUES (1, 1), (1, 2), (1, NULL), (1, NULL), (NULL, NULL), (NULL, NULL);
CREATE TABLE key_unique_only (a int NOT NULL, b varchar(9), UNIQUE KEY u (a));
INSERT INTO key_unique_only VALUES (3, 'c'), (1, 'a'), (2, 'b');
