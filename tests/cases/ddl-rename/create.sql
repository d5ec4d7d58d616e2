-- Two tables change names, as tools that alter tables online do it.
CREATE TABLE dr_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dr_t (v) VALUES (1), (2);
