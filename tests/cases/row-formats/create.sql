-- Every row format that InnoDB has.
CREATE TABLE row_compact (id int NOT NULL PRIMARY KEY, t text) ROW_FORMAT=COMPACT; CREATE TABLE row_redundant (id int NOT NULL PRIMARY KEY, t text) ROW_FORMAT=REDUNDANT;
CREATE TABLE row_compressed (id int NOT NULL PRIMARY KEY, t text) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8; CREATE TABLE row_dynamic (id int NOT NULL PRIMARY KEY, t text) ROW_FORMAT=DYNAMIC;
INSERT INTO row_compact VALUES (1, REPEAT('a', 20000)); INSERT INTO row_redundant SELECT * FROM row_compact; INSERT INTO row_compressed SELECT * FROM row_compact; INSERT INTO row_dynamic SELECT * FROM row_compact;
