UPDATE inet_uuids SET c = UUID() WHERE id = 2;
