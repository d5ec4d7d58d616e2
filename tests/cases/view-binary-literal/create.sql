-- Text beyond ASCII beside a binary column: MySQL 9.7 prints such a view, and means it, differently each time that it is made.
CREATE TABLE vbl_t (id int NOT NULL PRIMARY KEY, b varbinary(20)); INSERT INTO vbl_t VALUES (1, NULL), (2, x'00');
CREATE VIEW vbl_view AS SELECT id, COALESCE(b, 'ü') AS c FROM vbl_t;
