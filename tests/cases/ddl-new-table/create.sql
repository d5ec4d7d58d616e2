-- Tables come and go.
CREATE TABLE dn_stays (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dn_stays (v) VALUES (1);
