-- A table is emptied and filled again.
CREATE TABLE dt_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dt_t (v) VALUES (1), (2), (3);
