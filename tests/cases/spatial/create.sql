-- Points, lines and polygons, with a spatial key.
CREATE TABLE spatials (id int NOT NULL PRIMARY KEY, p point NOT NULL, g geometry, l linestring, y polygon, m multipoint, SPATIAL KEY (p));
INSERT INTO spatials VALUES (1, ST_GeomFromText('POINT(1 2)'), ST_GeomFromText('POINT(0.1 -0.1)'), ST_GeomFromText('LINESTRING(0 0, 1 1, 2 2)'), ST_GeomFromText('POLYGON((0 0, 0 1, 1 1, 0 0))'), ST_GeomFromText('MULTIPOINT(1 1, 2 2)')),
 (2, ST_GeomFromText('POINT(1e300 -1e-300)'), NULL, NULL, NULL, NULL);
