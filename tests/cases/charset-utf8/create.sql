-- UTF-8 of three and of four bytes in one table, with letters beyond the first plane and both forms of accents.
CREATE TABLE charset_utf8 (id int NOT NULL PRIMARY KEY, a varchar(50) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci, b varchar(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci, c longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin) DEFAULT CHARSET=utf8mb3;
INSERT INTO charset_utf8 VALUES (1, 'é', '😀👨‍👩‍👧', CONCAT('e', x'cc81')), (2, '\uFEFF', '𝒳', '\uFFFF'), (3, 'ß', 'İıŞ', 'שלום');
