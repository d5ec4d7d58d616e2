INSERT INTO key_fulltext SELECT MAX(id) + 1, 'more words', 'again' FROM key_fulltext;
