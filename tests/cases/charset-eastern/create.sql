-- Multi-byte sets whose second byte may be a backslash or a quote.
CREATE TABLE charset_eastern (id int NOT NULL PRIMARY KEY, a varchar(50) CHARACTER SET gbk, b varchar(50) CHARACTER SET big5, c varchar(50) CHARACTER SET sjis, d varchar(50) CHARACTER SET euckr, e varchar(50) CHARACTER SET cp932, f text CHARACTER SET ujis);
INSERT INTO charset_eastern VALUES (1, x'815c', x'a55c', x'835c', x'b0a1', x'835c', '日本'), (2, '中文', '中文', '日本語', '한국', '日本語', '日本語'), (3, NULL, '', NULL, '', NULL, '');
