-- A table of Aria, MariaDB only.
CREATE TABLE ea_t (id int NOT NULL PRIMARY KEY, t text) ENGINE=Aria; INSERT INTO ea_t VALUES (1, 'a'), (2, NULL);
