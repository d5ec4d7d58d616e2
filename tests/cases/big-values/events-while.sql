UPDATE big_values SET t = CONCAT('x', LEFT(t, 100000)) WHERE id = 1;
