-- Two tables whose names differ in the case of a letter only.
CREATE TABLE names_case (id int NOT NULL PRIMARY KEY); CREATE TABLE Names_Case (Id int NOT NULL PRIMARY KEY, V int); INSERT INTO names_case VALUES (1); INSERT INTO Names_Case VALUES (1, 1), (2, 2);
