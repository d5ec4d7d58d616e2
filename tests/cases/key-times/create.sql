-- Dates, times and YEAR as primary keys.
CREATE TABLE key_times (a datetime(6) NOT NULL, b time(3) NOT NULL, c year NOT NULL, d timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, v int, PRIMARY KEY (a, b, c, d));
INSERT INTO key_times VALUES ('2026-01-01 00:00:00.000001', '-10:00:00.001', 2026, '2026-01-01 00:00:00', 1), ('2026-01-01 00:00:00.000002', '10:00:00', 1901, '1970-01-02 00:00:00', 2);
