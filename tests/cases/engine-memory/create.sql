-- A table in memory.
CREATE TABLE ey_t (id int NOT NULL PRIMARY KEY, t varchar(20)) ENGINE=MEMORY; INSERT INTO ey_t VALUES (1, 'a'), (2, NULL);
