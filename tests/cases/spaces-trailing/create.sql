-- CHAR and VARCHAR with spaces at their ends, which some comparisons do not see.
CREATE TABLE spaces_trailing (id int NOT NULL PRIMARY KEY, c char(10), v varchar(10), t text, b varbinary(10), UNIQUE KEY u (b));
INSERT INTO spaces_trailing VALUES (1, 'a', 'a', 'a', 'a'), (2, 'a  ', 'a  ', 'a  ', 'a  '), (3, '  a', '  a', '  a', '  a'), (4, '', '', '', ''), (5, '   ', '   ', '   ', '   '), (6, NULL, NULL, NULL, NULL);
