-- A table with a backtick in its name, and what is written to it.
CREATE TABLE `back``tick` (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO `back``tick` (v) VALUES (1), (2);
