-- Defaults that are expressions.
CREATE TABLE default_expressions (id int NOT NULL PRIMARY KEY, a varchar(40) DEFAULT (CONCAT('a', 'b''c')), b int DEFAULT (1 + 2), c text DEFAULT ('text'), d datetime DEFAULT (NOW() + INTERVAL 1 DAY), u varchar(36) DEFAULT (UUID()));
INSERT INTO default_expressions (id) VALUES (1), (2);
