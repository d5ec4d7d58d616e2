-- Stored columns, of each other and of texts.
CREATE TABLE generated_stored (id int NOT NULL PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED, c varchar(50) GENERATED ALWAYS AS (CONCAT('n', a, '"')) STORED, d int, KEY (b));
INSERT INTO generated_stored (id, a, d) VALUES (1, 1, 1), (2, NULL, 2), (3, -5, 3);
