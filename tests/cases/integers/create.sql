-- Every integer type at both ends, signed and unsigned, and 0.
CREATE TABLE integers (id int NOT NULL PRIMARY KEY, a tinyint, b tinyint unsigned, c smallint, d smallint unsigned, e mediumint,
  f mediumint unsigned, g int, h int unsigned, i bigint, j bigint unsigned);
INSERT INTO integers VALUES (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0),
  (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (-2147483648, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
