INSERT INTO text_escapes (v, t) VALUES ('\\\\', 'it''s \\n "x"');
