-- Another database beside CloudStack's, with objects that only it has; each is passed over, as long as they do not come all the time.
CREATE DATABASE IF NOT EXISTS elsewhere; CREATE TABLE IF NOT EXISTS elsewhere.w (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int);
CREATE TABLE wl_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO wl_t (v) VALUES (1);
