-- Lists, of several columns, with parts of parts.
CREATE TABLE partitions_list (a int NOT NULL, b int NOT NULL, v int, PRIMARY KEY (a, b)) PARTITION BY LIST (a) SUBPARTITION BY HASH (b) SUBPARTITIONS 2 (PARTITION p1 VALUES IN (1, 3, 5), PARTITION p2 VALUES IN (2, 4, 6));
CREATE TABLE partitions_columns (a varchar(10) NOT NULL, d date NOT NULL, PRIMARY KEY (a, d)) PARTITION BY RANGE COLUMNS (a, d) (PARTITION p1 VALUES LESS THAN ('m', '2026-01-01'), PARTITION p2 VALUES LESS THAN (MAXVALUE, MAXVALUE));
INSERT INTO partitions_list VALUES (1, 1, 1), (2, 2, 2), (6, -1, 3); INSERT INTO partitions_columns VALUES ('a', '2020-01-01'), ('z', '2026-01-01');
