-- Checks of columns and of tables, named and not.
CREATE TABLE checks (id int NOT NULL PRIMARY KEY, a int CHECK (a > 0), b int, c varchar(20), CONSTRAINT b_and_a CHECK (b >= a), CONSTRAINT c_is CHECK (c IN ('x', 'it''s', 'ü')));
INSERT INTO checks VALUES (1, 1, 1, 'x'), (2, NULL, NULL, NULL), (3, 1, 9, 'it''s');
