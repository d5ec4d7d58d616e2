-- BIT of 1 to 64, all zeros and all ones.
CREATE TABLE bits (id int NOT NULL PRIMARY KEY, a bit, b bit(7), c bit(8), d bit(33), e bit(64) NOT NULL, f bit(16) DEFAULT b'1010');
INSERT INTO bits (id, a, b, c, d, e) VALUES (1, b'1', b'1111111', b'11111111', b'1', REPEAT(x'ff', 8)), (2, b'0', 0, 0x5c, 0x22, 0), (3, NULL, NULL, NULL, NULL, 1), (4, 1, 0x27, 0x0a, 0x0d, 0x0a0d5c2227);
