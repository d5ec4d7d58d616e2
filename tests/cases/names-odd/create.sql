-- Names of everything with dots, spaces, quotes, percent and backticks.
CREATE TABLE `odd . name % ' "x"` (`a.b` int NOT NULL, `c d` int, `e``f` int, `%s %(x)s {n}` varchar(20), PRIMARY KEY (`a.b`), KEY `k . y` (`c d`), UNIQUE KEY `q'u"o` (`e``f`));
INSERT INTO `odd . name % ' "x"` VALUES (1, 2, 3, 'x'), (4, 5, NULL, '%s');
CREATE VIEW `odd view.%` AS SELECT `a.b` AS `x y`, `e``f` FROM `odd . name % ' "x"`;
