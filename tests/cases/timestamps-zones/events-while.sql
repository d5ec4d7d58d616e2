SET time_zone = '+09:00'; UPDATE timestamps_zones SET d = NOW() WHERE id = 1; INSERT INTO timestamps_zones (id, s) SELECT MAX(id) + 1, NOW() FROM timestamps_zones;
