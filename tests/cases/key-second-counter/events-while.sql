INSERT INTO key_second_counter (zone, v) VALUES (1, 'd');
