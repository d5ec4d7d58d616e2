-- DDL that has the word TEMPORARY in it and is not temporary.
CREATE TABLE dw_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dw_t (v) VALUES (1), (2);
