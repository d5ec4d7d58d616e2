-- Rows written from rows: INSERT ... SELECT, with functions of chance and of time.
CREATE TABLE ws_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, u varchar(36), r double, t datetime(6)); INSERT INTO ws_t (u, r, t) VALUES (UUID(), RAND(), NOW(6));
