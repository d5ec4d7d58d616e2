-- FLOAT and DOUBLE at their ends: denormal numbers, minus zero, digits that six places do not show.
CREATE TABLE floats (id int NOT NULL PRIMARY KEY, f float, d double, p float(7,3), q double(20,8));
INSERT INTO floats VALUES (1, 3.402823466e38, 1.7976931348623157e308, 1234.567, 123456789012.12345678), (2, 1.175494351e-38, 2.2250738585072014e-308, -0.001, 0),
  (3, 1.4e-45, 5e-324, 0, 0), (4, -0e0, -0e0, 0, 0), (5, 16777217, 9007199254740993, NULL, NULL), (6, 0.1, 0.1, 0.1, 0.1), (7, 1e0/3, 1e0/3, 1e0/3, 1e0/3);
-- Too small for the type: stored as minus zero.
INSERT IGNORE INTO floats VALUES (8, -1e-200, -1e-320 * 1e-10, 0 * -1, 0 * -1);
