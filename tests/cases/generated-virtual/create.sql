-- Virtual columns: first in the table, before the key, in keys.
CREATE TABLE generated_virtual (v int GENERATED ALWAYS AS (id + 1) VIRTUAL, id int NOT NULL, a varchar(20), w varchar(40) GENERATED ALWAYS AS (UPPER(a)) VIRTUAL, x int, PRIMARY KEY (id), KEY (v), UNIQUE KEY (w));
INSERT INTO generated_virtual (id, a, x) VALUES (1, 'a', 1), (2, 'ß', 2), (3, NULL, 3);
