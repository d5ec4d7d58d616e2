-- A key of floating numbers.
CREATE TABLE key_float (f double NOT NULL, v int, PRIMARY KEY (f));
INSERT INTO key_float VALUES (0.1, 1), (-1e308, 2), (1e-300, 3), (3.0000000000000004, 4);
