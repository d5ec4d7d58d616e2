-- The bytes that fields, rows and quotes of a copy are told apart by, in texts and blobs.
CREATE TABLE text_separators (id int NOT NULL PRIMARY KEY, b blob, v varbinary(50), l varchar(50) CHARACTER SET latin1, t text);
INSERT INTO text_separators VALUES (1, x'fbffff', x'fe', x'fd', 'x'), (2, x'fffefdfbffff4e554c4cfd', x'ff', x'fffefdfb', 'y'), (3, x'fbfffffbffff', x'fdfbffff', x'fb', 'z'), (4, REPEAT(x'fbfffffeff', 5000), x'', '', '');
