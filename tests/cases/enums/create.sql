-- ENUM with quotes and commas in its values, the empty one of an error, and its numbers.
SET sql_mode = '';
CREATE TABLE enums (id int NOT NULL PRIMARY KEY, e enum('a','b,c','it''s','') CHARACTER SET utf8mb4, f enum('ä','ß') CHARACTER SET latin1 NOT NULL);
INSERT INTO enums VALUES (1, 'a', 'ä'), (2, 'b,c', 'ß'), (3, 'it''s', 'ä'), (4, '', 'ß'), (5, 'nothing of these', ''), (6, NULL, 'ß');
