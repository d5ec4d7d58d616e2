-- Views of several definers and of invokers, one of an account that is gone.
CREATE TABLE vd_t (id int NOT NULL PRIMARY KEY); INSERT INTO vd_t VALUES (1);
CREATE DEFINER=cloud@localhost VIEW vd_local AS SELECT id FROM vd_t; CREATE DEFINER=cloud@'%' SQL SECURITY INVOKER VIEW vd_invoker AS SELECT id FROM vd_t;
