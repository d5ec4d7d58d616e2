-- Dates that no calendar has, stored under ALLOW_INVALID_DATES, and one before all calendars.
SET sql_mode = 'ALLOW_INVALID_DATES';
CREATE TABLE dates_invalid (id int NOT NULL PRIMARY KEY, d date, t datetime(6));
INSERT INTO dates_invalid VALUES (1, '2026-02-31', '2026-11-31 23:59:59.999999'), (2, '9999-12-31', '9999-12-31 23:59:59.999999'), (3, '1000-01-01', '1000-01-01 00:00:00'), (4, '0001-01-01', NULL);
