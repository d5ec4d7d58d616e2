UPDATE decimals SET a = a * -1, e = e + 0.0001 WHERE id <> 2;
