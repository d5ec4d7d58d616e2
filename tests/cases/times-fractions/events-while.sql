UPDATE times_fractions SET c = NOW(6), e = NOW(6);
