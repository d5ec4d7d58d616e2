-- No key at all: equal rows, rows of NULL, and their order.
CREATE TABLE key_none (a int, b varchar(20));
INSERT INTO key_none VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL), (2, 'y'), (1, 'x');
