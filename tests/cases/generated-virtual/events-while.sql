UPDATE generated_virtual SET x = x + 1, a = CONCAT('b', x) WHERE id = 1;
