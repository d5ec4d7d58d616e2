-- A distributed transaction in two phases.
CREATE TABLE wxa_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO wxa_t (v) VALUES (1);
