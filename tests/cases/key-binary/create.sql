-- Bytes as primary key, of fixed and of free length.
CREATE TABLE key_binary (k binary(16) NOT NULL PRIMARY KEY, v int);
INSERT INTO key_binary VALUES (x'00000000000000000000000000000000', 1), (x'ffffffffffffffffffffffffffffffff', 2), (UNHEX(LEFT(SHA2('x', 256), 32)), 3);
CREATE TABLE key_varbinary (k varbinary(20) NOT NULL PRIMARY KEY);
INSERT INTO key_varbinary VALUES (''), (x'00'), (x'0000'), (x'5c'), (x'27'), (x'fffefd');
