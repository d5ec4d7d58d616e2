UPDATE vo_local SET v = (v + 1) % 10 WHERE id = 1;
