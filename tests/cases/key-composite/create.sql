-- Keys of several columns of several types.
CREATE TABLE key_composite (a int NOT NULL, b varchar(20) NOT NULL, c date NOT NULL, d decimal(5,2) NOT NULL, v int, PRIMARY KEY (b, c, a, d));
INSERT INTO key_composite VALUES (1, 'a', '2026-01-01', 1.50, 1), (1, 'a', '2026-01-01', -1.50, 2), (2, 'a', '2026-01-01', 1.50, 3), (1, 'b', '1000-01-01', 0, 4);
