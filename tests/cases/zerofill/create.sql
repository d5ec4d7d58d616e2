-- Display widths and ZEROFILL, which are printed and not stored.
SET sql_mode = '';
CREATE TABLE zerofilled (id int(6) unsigned zerofill NOT NULL AUTO_INCREMENT PRIMARY KEY, b bigint(20) unsigned zerofill, t tinyint(1), d decimal(10,2) zerofill);
INSERT INTO zerofilled (b, t, d) VALUES (7, 1, 1.5), (NULL, NULL, NULL), (18446744073709551615, -1, 99999999.99);
