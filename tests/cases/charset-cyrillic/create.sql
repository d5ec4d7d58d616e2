-- Three character sets for one alphabet.
CREATE TABLE charset_cyrillic (id int NOT NULL PRIMARY KEY, a varchar(50) CHARACTER SET cp1251, b varchar(50) CHARACTER SET koi8r, c varchar(50) CHARACTER SET cp866, d varchar(50) CHARACTER SET utf8mb4);
INSERT INTO charset_cyrillic VALUES (1, 'Привет', 'Привет', 'Привет', 'Привет'), (2, 'Ёё №', 'Ёё', 'Ёё', 'Ёё №'), (3, x'ff', x'ff', x'ff', NULL);
