-- Views, procedures and triggers are made again.
CREATE TABLE dp_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dp_t (v) VALUES (1); CREATE VIEW dp_view AS SELECT id FROM dp_t;
