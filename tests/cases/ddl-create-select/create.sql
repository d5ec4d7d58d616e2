-- A table is made from a query.
CREATE TABLE ds_t (id int NOT NULL PRIMARY KEY, v int); INSERT INTO ds_t VALUES (1, 1), (2, 2);
