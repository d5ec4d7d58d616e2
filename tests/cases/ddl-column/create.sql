-- A column is added and dropped again while it is brought over.
CREATE TABLE dc_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dc_t (v) VALUES (1), (2);
