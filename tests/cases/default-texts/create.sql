-- Defaults with quotes, backslashes, words that mean something, and the empty one.
CREATE TABLE default_texts (id int NOT NULL PRIMARY KEY, a varchar(20) DEFAULT 'it''s', b varchar(20) DEFAULT '\\', c varchar(20) DEFAULT 'NULL', d varchar(20) DEFAULT '', e varchar(20) DEFAULT 'current_timestamp', f varchar(20) DEFAULT '"x"', g char(3) DEFAULT ' ', h enum('a','b') DEFAULT 'b', i decimal(5,2) DEFAULT '1.50', j varchar(20) DEFAULT 'ü😀', k bit(3) DEFAULT b'101', l binary(2) DEFAULT 'ab');
INSERT INTO default_texts (id) VALUES (1);
