UPDATE checks SET b = b + 1 WHERE id = 3;
