-- Columns computed from dates.
CREATE TABLE generated_dates (id int NOT NULL PRIMARY KEY, d datetime NOT NULL, y int GENERATED ALWAYS AS (YEAR(d)) VIRTUAL, n date GENERATED ALWAYS AS (d + INTERVAL 1 DAY) STORED, KEY (y));
INSERT INTO generated_dates (id, d) VALUES (1, '2024-02-28 23:59:59'), (2, '2026-12-31 00:00:00');
