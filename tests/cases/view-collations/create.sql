-- Comparisons of columns of several collations, which servers write conversions into.
CREATE TABLE vk_a (id int NOT NULL PRIMARY KEY, x varchar(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci); CREATE TABLE vk_b (id int NOT NULL PRIMARY KEY, y varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci);
INSERT INTO vk_a VALUES (1, 'Ä'), (2, 'b'); INSERT INTO vk_b VALUES (1, 'ä'), (2, 'B');
CREATE VIEW vk_view AS SELECT a.id, b.y FROM vk_a a JOIN vk_b b ON a.x = b.y COLLATE utf8mb4_unicode_ci WHERE b.y <> 'ü';
CREATE VIEW vk_literals AS SELECT id, 'ü' AS u, _latin1'x' AS l, CONCAT(y, 'é') AS c FROM vk_b;
