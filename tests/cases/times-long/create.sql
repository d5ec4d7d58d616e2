-- TIME at its ends: it is an interval, not a time of day.
CREATE TABLE times_long (id int NOT NULL PRIMARY KEY, t time, u time NOT NULL);
INSERT INTO times_long VALUES (1, '838:59:59', '-838:59:59'), (2, NULL, '00:00:00'), (3, '-00:00:01', '24:00:00');
