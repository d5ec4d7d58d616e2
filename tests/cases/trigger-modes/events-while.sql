UPDATE tm_t SET v = 'y';
