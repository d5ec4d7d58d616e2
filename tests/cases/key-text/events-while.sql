UPDATE key_text SET v = v + 1; UPDATE key_text_bin SET v = v + 1 WHERE k = 'Ä';
