-- Updates of the primary key itself: moves, swaps, and a row that comes back.
CREATE TABLE wk_t (id int NOT NULL PRIMARY KEY, v int); INSERT INTO wk_t VALUES (1, 1), (2, 2), (3, 3);
