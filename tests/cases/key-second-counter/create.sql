-- A counter that is not the first column of the primary key.
CREATE TABLE key_second_counter (zone int NOT NULL, id bigint unsigned NOT NULL AUTO_INCREMENT, v varchar(20), PRIMARY KEY (zone, id), KEY i (id), KEY z (v));
INSERT INTO key_second_counter (zone, v) VALUES (2, 'a'), (1, 'b'), (2, 'c');
