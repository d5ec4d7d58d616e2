-- Columns bound to one reference system, MySQL only.
CREATE TABLE spatial_srids (id int NOT NULL PRIMARY KEY, p point NOT NULL SRID 4326, q point SRID 0, SPATIAL KEY (p));
INSERT INTO spatial_srids VALUES (1, ST_SRID(POINT(10, 50), 4326), POINT(1, 1));
