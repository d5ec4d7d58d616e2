INSERT INTO key_primary_descending SELECT MAX(a) + 1, 0 FROM key_primary_descending;
