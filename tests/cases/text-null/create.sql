-- Texts that say NULL, and what programs write for NULL.
CREATE TABLE text_null (id int NOT NULL PRIMARY KEY, a varchar(20), b text, c blob, d varchar(20) NOT NULL);
INSERT INTO text_null VALUES (1, 'NULL', 'NULL', 'NULL', 'NULL'), (2, '\\N', '\\N', '\\N', '\\N'), (3, NULL, NULL, NULL, ''), (4, '', '', '', 'null'), (5, '"NULL"', '\'NULL\'', 'N', 'N');
