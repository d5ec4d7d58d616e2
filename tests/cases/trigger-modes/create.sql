-- Triggers made under odd modes, whose text is right in their own mode only.
CREATE TABLE tm_t (id int NOT NULL PRIMARY KEY, v varchar(20)); INSERT INTO tm_t VALUES (1, 'x');
SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'; CREATE TRIGGER tm_ansi BEFORE UPDATE ON tm_t FOR EACH ROW SET NEW."v" = LEFT('a' || NEW."v", 9);
SET sql_mode = ''; CREATE TRIGGER tm_none BEFORE INSERT ON tm_t FOR EACH ROW SET NEW.v = "b";
