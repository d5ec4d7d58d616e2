-- Counters far ahead of the last row, one at its end, one that a rollback moved.
CREATE TABLE counter_ahead (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, v int) AUTO_INCREMENT = 4611686018427387904;
INSERT INTO counter_ahead (id, v) VALUES (3, 1);
CREATE TABLE counter_end (id tinyint NOT NULL AUTO_INCREMENT PRIMARY KEY); INSERT INTO counter_end VALUES (126), (127);
CREATE TABLE counter_rolled_back (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int);
BEGIN; INSERT INTO counter_rolled_back (v) VALUES (1), (2), (3); ROLLBACK; INSERT INTO counter_rolled_back (v) VALUES (4);
