-- Two tables that refer to each other, and one to itself.
SET foreign_key_checks = 0;
CREATE TABLE cycle_a (id int NOT NULL PRIMARY KEY, b_id int, CONSTRAINT fk_cycle_a FOREIGN KEY (b_id) REFERENCES cycle_b (id) ON DELETE SET NULL);
CREATE TABLE cycle_b (id int NOT NULL PRIMARY KEY, a_id int, parent int, CONSTRAINT fk_cycle_b FOREIGN KEY (a_id) REFERENCES cycle_a (id) ON UPDATE CASCADE, CONSTRAINT fk_cycle_self FOREIGN KEY (parent) REFERENCES cycle_b (id));
INSERT INTO cycle_a VALUES (1, 1), (2, NULL); INSERT INTO cycle_b VALUES (1, 2, NULL), (2, 1, 1), (3, NULL, 3);
