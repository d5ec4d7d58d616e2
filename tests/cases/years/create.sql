-- YEAR, also 0000 and the ends of its range.
CREATE TABLE years (id int NOT NULL PRIMARY KEY, y year, z year NOT NULL DEFAULT '2026');
INSERT INTO years VALUES (1, 1901, 2155), (2, 0, '0000'), (3, NULL, 1970), (4, 69, 70);
