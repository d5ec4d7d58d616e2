-- A table that keeps its rows of the past, MariaDB only.
CREATE TABLE versioned (id int NOT NULL PRIMARY KEY, v int) WITH SYSTEM VERSIONING; INSERT INTO versioned VALUES (1, 1); UPDATE versioned SET v = 2;
