UPDATE key_negative SET v = v + 1;
