-- ENUM, SET and BIT as primary keys.
CREATE TABLE key_enum_set (e enum('z','a','m') NOT NULL, s set('x','y') NOT NULL, b bit(4) NOT NULL, v int, PRIMARY KEY (e, s, b));
INSERT INTO key_enum_set VALUES ('a', 'x', b'1', 1), ('z', '', b'0', 2), ('z', 'x,y', b'1111', 3), ('m', 'y', b'10', 4);
