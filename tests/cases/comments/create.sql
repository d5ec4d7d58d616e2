-- Comments on tables, columns, keys and partitions, with quotes and letters of all kinds.
CREATE TABLE comments (id int NOT NULL COMMENT 'it''s "the" key \\ ;', a int COMMENT 'ünï 😐 /* x */ -- y', KEY i (a) COMMENT 'key, with ) and (', PRIMARY KEY (id)) COMMENT='table `x`; KEY `a` (`b`)';
INSERT INTO comments VALUES (1, 1);
