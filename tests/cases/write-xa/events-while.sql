XA START 'case'; INSERT INTO wxa_t (v) VALUES (2); UPDATE wxa_t SET v = v + 1 WHERE id = 1; XA END 'case'; XA PREPARE 'case'; XA COMMIT 'case';
