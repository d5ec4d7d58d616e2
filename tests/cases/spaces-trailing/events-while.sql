UPDATE spaces_trailing SET v = IF(LENGTH(v) = 1, 'a ', 'a') WHERE id = 1;
