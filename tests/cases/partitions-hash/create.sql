-- Partitions by hash and by key.
CREATE TABLE partitions_hash (id int NOT NULL PRIMARY KEY, v int) PARTITION BY HASH (id) PARTITIONS 5;
CREATE TABLE partitions_key (k varchar(20) NOT NULL PRIMARY KEY, v int) PARTITION BY KEY (k) PARTITIONS 3;
INSERT INTO partitions_hash VALUES (1, 1), (2, 2), (-7, 3), (100, 4); INSERT INTO partitions_key VALUES ('a', 1), ('b', 2), ('c', 3);
