REPLACE INTO wu_t (a, b) VALUES (1, 2); INSERT INTO wu_t (a, b) VALUES (2, 2), (3, 9) ON DUPLICATE KEY UPDATE n = n + 1; INSERT IGNORE INTO wu_t (a, b) VALUES (3, 3), (4, 4);
