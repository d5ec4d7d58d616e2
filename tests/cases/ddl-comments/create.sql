-- DDL in comments that only some servers read.
CREATE TABLE dx_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dx_t (v) VALUES (1);
