-- Tables of MyISAM, with and without a key.
CREATE TABLE em_key (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, t varchar(20)) ENGINE=MyISAM; INSERT INTO em_key (t) VALUES ('a'), ('b'); CREATE TABLE em_none (a int) ENGINE=MyISAM; INSERT INTO em_none VALUES (2), (1), (2);
