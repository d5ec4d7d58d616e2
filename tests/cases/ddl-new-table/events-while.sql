DROP TABLE IF EXISTS dn_new; CREATE TABLE dn_new (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int); INSERT INTO dn_new (v) VALUES (1), (2); UPDATE dn_stays SET v = v + 1;
