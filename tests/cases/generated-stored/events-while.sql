UPDATE generated_stored SET a = d, d = d + 1;
