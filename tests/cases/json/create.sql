-- JSON as each family has it: objects, numbers at their ends, duplicate keys, and null twice over.
CREATE TABLE jsons (id int NOT NULL PRIMARY KEY, j json, k json);
INSERT INTO jsons VALUES (1, '{"a": 1, "b": [1, 2, {"c": null}], "ü": "😀"}', 'null'), (2, '[]', NULL), (3, '"text with \\"quotes\\" and \\\\"', '1.5e300'), (4, '18446744073709551615', '-9223372036854775808'), (5, 'true', '""'), (6, '{"z":1,"a":2,  "a":3}', '[1.0, 0.1, 1e2]');
