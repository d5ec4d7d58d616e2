INSERT INTO `back``tick` (v) VALUES (3); UPDATE `back``tick` SET v = v + 1;
