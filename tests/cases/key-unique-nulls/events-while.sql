UPDATE key_unique_only SET b = CONCAT('x', LEFT(b, 3));
