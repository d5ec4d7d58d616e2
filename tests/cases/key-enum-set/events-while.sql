UPDATE key_enum_set SET v = v + 1;
