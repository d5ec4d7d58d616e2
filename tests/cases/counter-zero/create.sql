-- A row with number 0 in a column that counts.
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
CREATE TABLE counter_zero (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int);
INSERT INTO counter_zero VALUES (0, 1), (5, 2);
