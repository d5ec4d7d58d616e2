-- Full text keys, two of them.
CREATE TABLE key_fulltext (id int NOT NULL PRIMARY KEY, a varchar(200), b text, FULLTEXT KEY f (a), FULLTEXT KEY g (a, b));
INSERT INTO key_fulltext VALUES (1, 'some words here', 'and more of them'), (2, NULL, ''), (3, 'über die Wörter', 'naïve café');
