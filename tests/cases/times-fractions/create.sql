-- Fractions of seconds of every precision.
CREATE TABLE times_fractions (id int NOT NULL PRIMARY KEY, a datetime(1), b datetime(3), c datetime(6), d time(6), e timestamp(6) NULL, f time(2));
INSERT INTO times_fractions VALUES (1, '2026-01-02 03:04:05.1', '2026-01-02 03:04:05.125', '2026-01-02 03:04:05.000001', '-10:00:00.000001', '2026-01-02 03:04:05.999999', '00:00:00.01'),
  (2, '2026-01-02 03:04:05.9', '2026-01-02 03:04:05.000', '2026-01-02 03:04:05.100000', '00:00:00.5', '1970-01-02 00:00:01.000001', '-00:00:00.99'), (3, NULL, NULL, NULL, NULL, NULL, NULL);
