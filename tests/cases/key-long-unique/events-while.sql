INSERT INTO key_long_unique SELECT MAX(id) + 1, UUID(), UUID() FROM key_long_unique;
