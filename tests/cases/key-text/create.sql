-- Text as primary key under collations that take different bytes for equal.
CREATE TABLE key_text (k varchar(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL PRIMARY KEY, v int);
INSERT INTO key_text VALUES ('a', 1), ('ä b', 2), ('Straße', 3), ('', 4), ('😀', 5), ('z\\', 6), ('o''k', 7);
CREATE TABLE key_text_bin (k varchar(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, v int);
INSERT INTO key_text_bin VALUES ('a', 1), ('A', 2), ('ä', 3), ('Ä', 4), ('', 5);
