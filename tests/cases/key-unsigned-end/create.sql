-- Keys near 2^64, which no signed number holds.
CREATE TABLE key_unsigned_end (id bigint unsigned NOT NULL PRIMARY KEY, v int);
INSERT INTO key_unsigned_end VALUES (0, 1), (9223372036854775807, 2), (9223372036854775808, 3), (18446744073709551614, 4), (18446744073709551615, 5);
