-- A column taken out of a JSON document.
CREATE TABLE generated_json (id int NOT NULL PRIMARY KEY, j json, n varchar(100) GENERATED ALWAYS AS (JSON_UNQUOTE(JSON_EXTRACT(j, '$.name'))) STORED, KEY (n));
INSERT INTO generated_json (id, j) VALUES (1, '{"name": "kvm1"}'), (2, '{}'), (3, NULL);
