UPDATE key_times SET v = v + 1;
