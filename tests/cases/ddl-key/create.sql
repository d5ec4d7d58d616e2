-- Keys come and go.
CREATE TABLE dk_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dk_t (v) VALUES (1), (2);
