UPDATE `odd . name % ' "x"` SET `c d` = `c d` + 1 WHERE `a.b` = 1;
