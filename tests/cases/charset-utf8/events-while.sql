UPDATE charset_utf8 SET b = CONCAT(LEFT(b, 20), '😀') WHERE id = 1;
