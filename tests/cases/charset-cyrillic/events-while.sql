UPDATE charset_cyrillic SET a = d, b = d WHERE id = 1;
