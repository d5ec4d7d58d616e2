-- An event that writes each second on a server whose scheduler runs; on the copy it must not.
CREATE TABLE ee_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, t datetime(6)); INSERT INTO ee_t (t) VALUES (NULL);
CREATE EVENT ee_year ON SCHEDULE EVERY 1 YEAR STARTS '2031-01-01 00:00:00' DO INSERT INTO ee_t (t) VALUES (NOW(6));
