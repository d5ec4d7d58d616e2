-- DDL behind words that are not DDL, MariaDB.
CREATE TABLE dm_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dm_t (v) VALUES (1);
