-- Latin 1 with every byte that it has.
CREATE TABLE charset_latin1 (id int NOT NULL PRIMARY KEY, c char(1) CHARACTER SET latin1, v varchar(255) CHARACTER SET latin1 COLLATE latin1_bin, t text CHARACTER SET latin1 COLLATE latin1_german2_ci) DEFAULT CHARSET=latin1;
INSERT INTO charset_latin1 VALUES (1, x'e4', x'808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f', x'df'), (2, x'ff', x'a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf', x'fffefdfcfb'), (3, x'5c', x'22275c0a0d00', NULL);
