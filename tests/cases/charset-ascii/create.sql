-- ASCII and binary as character sets, and a column that differs from its table.
CREATE TABLE charset_ascii (id int NOT NULL PRIMARY KEY, a varchar(20) CHARACTER SET ascii, b varchar(20) CHARACTER SET binary, c char(5) CHARACTER SET ascii COLLATE ascii_bin) DEFAULT CHARSET=ascii;
INSERT INTO charset_ascii VALUES (1, 'abc', x'ff00', 'ABC'), (2, '', '', NULL);
