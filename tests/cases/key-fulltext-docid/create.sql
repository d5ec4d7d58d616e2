-- A full text key over a document number of one's own.
CREATE TABLE key_fulltext_docid (FTS_DOC_ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, t text, FULLTEXT KEY (t));
INSERT INTO key_fulltext_docid (t) VALUES ('one'), ('two'), ('three');
