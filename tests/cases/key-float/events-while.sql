UPDATE key_float SET v = v + 1;
