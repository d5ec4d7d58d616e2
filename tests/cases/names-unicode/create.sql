-- Names with letters of many alphabets.
CREATE TABLE `größe_мир` (`schlüssel` int NOT NULL PRIMARY KEY, `値` varchar(20), KEY `ключ` (`値`)); INSERT INTO `größe_мир` VALUES (1, '値');
CREATE VIEW `sicht_ü` AS SELECT `値` AS `ß` FROM `größe_мир`;
