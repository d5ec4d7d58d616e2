-- A procedure, a function, a table and a view of one name each where a server allows it.
CREATE TABLE same_name (id int NOT NULL PRIMARY KEY); INSERT INTO same_name VALUES (1); CREATE PROCEDURE same_name() SELECT 1; CREATE FUNCTION same_name() RETURNS int DETERMINISTIC RETURN 1;
CREATE TRIGGER same_name BEFORE INSERT ON same_name FOR EACH ROW SET NEW.id = NEW.id;
