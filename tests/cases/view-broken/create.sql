-- A view whose column is gone: the new server can not make it.
CREATE TABLE broken_t (id int NOT NULL PRIMARY KEY, gone int); INSERT INTO broken_t VALUES (1, 1); CREATE VIEW broken_view AS SELECT id, gone FROM broken_t; ALTER TABLE broken_t DROP COLUMN gone;
