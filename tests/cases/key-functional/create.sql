-- A key on an expression, MySQL only.
CREATE TABLE key_functional (id int NOT NULL PRIMARY KEY, a varchar(20), j json, KEY f ((LOWER(a))), UNIQUE KEY g ((CONCAT(a, 'x'))), KEY m ((CAST(j->'$.t' AS unsigned ARRAY))));
INSERT INTO key_functional VALUES (1, 'Abc', '{"t": [1, 2]}'), (2, NULL, NULL);
