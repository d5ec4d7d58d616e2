UPDATE bits SET e = e ^ 0xffffffffffffffff;
