INSERT INTO key_functional (id, a) SELECT MAX(id) + 1, UUID_SHORT() FROM key_functional;
