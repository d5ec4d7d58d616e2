INSERT INTO tg_t (v) VALUES (1); UPDATE tg_t SET v = v + 1 WHERE id = 1; DELETE FROM tg_t WHERE id > 1 LIMIT 1;
