-- Dates of zeros, in whole and in part, from the time when servers took them.
SET sql_mode = '';
CREATE TABLE dates_zero (id int NOT NULL PRIMARY KEY, d date NOT NULL DEFAULT '0000-00-00', t datetime NOT NULL DEFAULT '0000-00-00 00:00:00', s timestamp NOT NULL DEFAULT '0000-00-00 00:00:00');
INSERT INTO dates_zero (id) VALUES (1);
INSERT INTO dates_zero VALUES (2, '2026-00-00', '2026-01-00 00:00:00', '1970-01-01 12:00:01'), (3, '0000-01-01', '0000-00-01 10:00:00', '2038-01-18 00:00:00');
