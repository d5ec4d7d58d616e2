INSERT INTO key_none VALUES (3, 'z'); DELETE FROM key_none WHERE a = 3 LIMIT 1;
