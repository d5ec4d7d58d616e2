-- Values of megabytes, which one packet must hold, and a row of many of 60 KB.
CREATE TABLE big_values (id int NOT NULL PRIMARY KEY, t longtext, b longblob);
INSERT INTO big_values VALUES (1, REPEAT('żółć', 700000), REPEAT(x'00ff5c2227', 20000)), (2, '', NULL), (3, REPEAT('\\', 60000), REPEAT('"', 60000));
CREATE TABLE big_rows (id int NOT NULL PRIMARY KEY, a text, b text, c text, d text, e text, f text, g text, h text);
INSERT INTO big_rows SELECT id, REPEAT('a', 60000), REPEAT('b', 60000), REPEAT('c', 60000), REPEAT('d', 60000), REPEAT('e', 60000), REPEAT('f', 60000), REPEAT('g', 60000), REPEAT('h', 60000) FROM big_values;
