-- A view made by a client of Latin 1.
CREATE TABLE vl_t (id int NOT NULL PRIMARY KEY, n varchar(20)); INSERT INTO vl_t VALUES (1, 'x');
SET NAMES latin1; CREATE VIEW vl_view AS SELECT id, n FROM vl_t WHERE n <> 'y';
