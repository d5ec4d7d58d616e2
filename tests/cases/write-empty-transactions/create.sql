-- Transactions that change nothing, and statements that match no row.
CREATE TABLE we_t (id int NOT NULL PRIMARY KEY, v int); INSERT INTO we_t VALUES (1, 1);
