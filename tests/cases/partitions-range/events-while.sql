UPDATE partitions_range SET v = v + 1; UPDATE partitions_range SET d = IF(d = '2020-01-01', '2026-01-01', '2020-01-01') WHERE id = 1;
