-- A view onto a database that is not brought over.
CREATE DATABASE IF NOT EXISTS elsewhere; CREATE TABLE IF NOT EXISTS elsewhere.t (id int); CREATE VIEW elsewhere_view AS SELECT id FROM elsewhere.t;
