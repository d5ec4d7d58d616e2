-- Quotes, backslashes, tabs, line ends, NUL and control Z, alone and at the ends.
CREATE TABLE text_escapes (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v varchar(200), t mediumtext, l varchar(200) CHARACTER SET latin1, b blob);
INSERT INTO text_escapes (v) VALUES ('\''), ('"'), ('\\'), ('\\\\'), ('\n'), ('\r\n'), ('\t'), ('\0'), ('\Z'), ('\b'), ('`'), ('a\\'), ('\\"'), ('","'), ('\',\''), ('%_'), ('/* */ -- #'), ('${x} $(x)'), ('\\n'), (';');
UPDATE text_escapes SET t = CONCAT(v, v, v), l = v, b = v;
