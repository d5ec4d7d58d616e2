UPDATE w2_a a JOIN w2_b b ON b.a = a.id SET a.v = a.v + 1, b.v = a.v WHERE a.id < 3; DELETE b FROM w2_a a JOIN w2_b b ON b.a = a.id WHERE a.id = 3; INSERT INTO w2_b (a, v) VALUES (3, 3);
