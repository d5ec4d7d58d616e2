-- Deletes and updates that reach further tables, which no log of rows names in every family.
CREATE TABLE cascade_a (id int NOT NULL PRIMARY KEY); CREATE TABLE cascade_b (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, a int, CONSTRAINT fk_cascade_b FOREIGN KEY (a) REFERENCES cascade_a (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE cascade_c (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, b int, CONSTRAINT fk_cascade_c FOREIGN KEY (b) REFERENCES cascade_b (id) ON DELETE CASCADE);
INSERT INTO cascade_a VALUES (1), (2), (3); INSERT INTO cascade_b (a) VALUES (1), (1), (2), (3); INSERT INTO cascade_c (b) VALUES (1), (2), (3), (4);
