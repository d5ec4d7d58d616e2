-- UCS-2, UTF-16 and UTF-32: bytes of zero in every letter.
CREATE TABLE charset_wide (id int NOT NULL PRIMARY KEY, a varchar(20) CHARACTER SET ucs2, b varchar(20) CHARACTER SET utf16, c varchar(20) CHARACTER SET utf32, d text CHARACTER SET utf16le);
INSERT INTO charset_wide VALUES (1, 'abc', 'a😀c', 'a😀c', 'a😀c'), (2, x'005c', x'0022', x'0000005c', x'2200'), (3, '', NULL, '', NULL);
