UPDATE enums SET e = IF(e = 'a', 'b,c', 'a') WHERE id = 1;
