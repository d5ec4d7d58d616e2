UPDATE key_composite SET v = v + 1; REPLACE INTO key_composite VALUES (9, 'zz', '2026-01-01', 9, 9);
