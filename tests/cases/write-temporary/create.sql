-- Temporary tables beside real ones, one of the same name.
CREATE TABLE wx_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO wx_t (v) VALUES (1);
