-- Names that are words of SQL.
CREATE TABLE `select` (`from` int NOT NULL, `where` int, `key` int, `primary` int, PRIMARY KEY (`from`), KEY `index` (`key`), CONSTRAINT `constraint` CHECK (`where` > 0));
INSERT INTO `select` VALUES (1, 1, 1, 1); CREATE VIEW `view` AS SELECT `from`, `key` AS `table` FROM `select`;
