UPDATE floats SET f = f / 3, d = d / 3 WHERE id = 6;
