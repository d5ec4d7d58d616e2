-- A foreign key from one of CloudStack's databases to the other.
CREATE TABLE foreign_schemas (id int NOT NULL PRIMARY KEY); CREATE TABLE cloud_usage.foreign_schemas (id int NOT NULL PRIMARY KEY, c int, CONSTRAINT fk_other FOREIGN KEY (c) REFERENCES cloud.foreign_schemas (id));
INSERT INTO foreign_schemas VALUES (1), (2); INSERT INTO cloud_usage.foreign_schemas VALUES (1, 1), (2, NULL);
