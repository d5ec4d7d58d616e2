-- A collection of geometries, which the families name differently.
CREATE TABLE spatial_collections (id int NOT NULL PRIMARY KEY, c geometrycollection);
INSERT INTO spatial_collections VALUES (1, ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))')), (2, NULL);
