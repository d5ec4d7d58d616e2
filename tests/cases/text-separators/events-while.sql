UPDATE text_separators SET b = CONCAT(b, x'fbfffffefd') WHERE id < 4 AND LENGTH(b) < 60000;
