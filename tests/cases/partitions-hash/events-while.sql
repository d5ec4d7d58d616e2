UPDATE partitions_hash SET v = v + 1; INSERT INTO partitions_hash SELECT MAX(id) + 1, 0 FROM partitions_hash;
