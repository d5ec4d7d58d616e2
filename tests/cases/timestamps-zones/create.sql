-- TIMESTAMPs written in several time zones, around a change of summer time, which all sides must show the same.
CREATE TABLE timestamps_zones (id int NOT NULL PRIMARY KEY, s timestamp NULL, t timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, d datetime DEFAULT CURRENT_TIMESTAMP);
SET time_zone = '+05:30'; INSERT INTO timestamps_zones (id, s, d) VALUES (1, '2026-03-29 02:30:00', '2026-03-29 02:30:00');
SET time_zone = '-11:00'; INSERT INTO timestamps_zones (id, s, d) VALUES (2, '2026-10-25 02:30:00', '2026-10-25 02:30:00'), (3, '1970-01-01 00:00:01', NULL), (4, NULL, NULL);
SET time_zone = '+13:00'; INSERT INTO timestamps_zones (id, s, d) VALUES (5, '2038-01-19 16:14:07', '2038-01-19 03:14:07');
