SET sql_mode = ''; INSERT INTO dates_zero (id) SELECT MAX(id) + 1 FROM dates_zero;
