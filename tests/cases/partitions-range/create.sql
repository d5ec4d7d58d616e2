-- Ranges by year, the last one open.
CREATE TABLE partitions_range (id int NOT NULL, d date NOT NULL, v int, PRIMARY KEY (id, d)) PARTITION BY RANGE (YEAR(d)) (PARTITION p24 VALUES LESS THAN (2025), PARTITION p25 VALUES LESS THAN (2026) COMMENT 'last year', PARTITION pmax VALUES LESS THAN MAXVALUE);
INSERT INTO partitions_range VALUES (1, '2020-01-01', 1), (2, '2025-06-01', 2), (3, '2030-01-01', 3);
