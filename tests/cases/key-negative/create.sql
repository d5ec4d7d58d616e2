-- Negative numbers in a primary key, and the ends of BIGINT.
CREATE TABLE key_negative (id bigint NOT NULL PRIMARY KEY, v int);
INSERT INTO key_negative VALUES (-9223372036854775808, 1), (-1, 2), (0, 3), (1, 4), (9223372036854775807, 5);
