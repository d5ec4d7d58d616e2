-- A session whose changes the log has as statements only: its rows must not be missed.
CREATE TABLE wf_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, u varchar(36), v int); INSERT INTO wf_t (u, v) VALUES ('a', 1), ('b', 2), ('c', 3);
