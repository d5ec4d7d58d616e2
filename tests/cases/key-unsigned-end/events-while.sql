UPDATE key_unsigned_end SET v = v + 1;
