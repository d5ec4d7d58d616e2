INSERT INTO foreign_schemas SELECT MAX(id) + 1 FROM foreign_schemas; INSERT INTO cloud_usage.foreign_schemas SELECT MAX(id), MAX(id) FROM foreign_schemas;
