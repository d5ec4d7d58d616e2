-- REPLACE, INSERT ... ON DUPLICATE KEY UPDATE and INSERT IGNORE over two unique keys.
CREATE TABLE wu_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, a int, b int, n int DEFAULT 0, UNIQUE KEY ua (a), UNIQUE KEY ub (b)); INSERT INTO wu_t (a, b) VALUES (1, 1), (2, 2), (3, 3);
