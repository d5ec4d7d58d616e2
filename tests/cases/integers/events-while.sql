UPDATE integers SET a = IF(a = 127, -128, a + 1), j = j XOR 18446744073709551615 WHERE id = 2;
INSERT INTO integers (id, i) SELECT MAX(id) + 1, -9223372036854775808 FROM integers;
