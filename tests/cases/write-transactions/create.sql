-- Transactions of many statements over many tables, savepoints and rollbacks.
CREATE TABLE wt_a (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); CREATE TABLE wt_b (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, a int, KEY (a)); CREATE TABLE cloud_usage.wt_c (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, a int); INSERT INTO wt_a (v) VALUES (1), (2), (3);
