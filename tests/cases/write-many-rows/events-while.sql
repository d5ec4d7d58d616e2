UPDATE wm_t SET v = v + 1; DELETE FROM wm_t ORDER BY id LIMIT 5; INSERT INTO wm_t (v, t) SELECT v, t FROM wm_t LIMIT 5;
