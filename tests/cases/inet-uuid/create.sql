-- The types INET4, INET6 and UUID, MariaDB only.
CREATE TABLE inet_uuids (id int NOT NULL PRIMARY KEY, a inet4, b inet6, c uuid NOT NULL, KEY (c));
INSERT INTO inet_uuids VALUES (1, '10.0.0.1', '::1', '123e4567-e89b-12d3-a456-426655440000'), (2, '255.255.255.255', '2001:db8::ff00:42:8329', UUID()), (3, NULL, '::ffff:10.0.0.1', '00000000-0000-0000-0000-000000000000');
