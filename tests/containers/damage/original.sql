SET NAMES utf8mb4;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', foreign_key_checks = 0;
CREATE USER IF NOT EXISTS cloud@localhost IDENTIFIED BY 'Lab-Password-1';
CREATE USER IF NOT EXISTS other@localhost IDENTIFIED BY 'Lab-Password-1';
GRANT ALL ON damage.* TO cloud@localhost;
GRANT ALL ON damage.* TO other@localhost;
DROP DATABASE IF EXISTS damage;
CREATE DATABASE damage DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
USE damage;
CREATE TABLE host (
  id bigint unsigned NOT NULL AUTO_INCREMENT,
  name varchar(255) NOT NULL,
  removed datetime DEFAULT NULL,
  PRIMARY KEY (id),
  KEY i_host__name (name(20)),
  KEY i_host__both (name, removed)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='hypervisor hosts';
INSERT INTO host VALUES (1, 'kvm1', NULL), (2, 'kvm2', NULL), (9, 'old', '2024-01-01 00:00:00');
CREATE TABLE everything (
  id bigint unsigned NOT NULL AUTO_INCREMENT,
  uuid char(40) DEFAULT NULL,
  description varchar(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci DEFAULT NULL,
  second varchar(255) DEFAULT NULL,
  latin varchar(64) CHARACTER SET latin1 DEFAULT NULL,
  small_float float DEFAULT NULL,
  big_double double DEFAULT NULL,
  price decimal(20,10) DEFAULT NULL,
  huge bigint unsigned DEFAULT NULL,
  flag tinyint NOT NULL DEFAULT 0,
  mask bit(12) DEFAULT NULL,
  data blob,
  fixed binary(8) DEFAULT NULL,
  story mediumtext,
  kind enum('a','b','c') DEFAULT NULL,
  tags set('x','y','z') DEFAULT NULL,
  made datetime DEFAULT NULL,
  precise datetime(6) DEFAULT NULL,
  day date DEFAULT NULL,
  at_time time(3) DEFAULT NULL,
  stamp timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  born year DEFAULT NULL,
  details json DEFAULT NULL,
  host_id bigint unsigned DEFAULT NULL COMMENT 'where it runs',
  doubled bigint unsigned GENERATED ALWAYS AS (flag * 2) VIRTUAL,
  PRIMARY KEY (id),
  UNIQUE KEY uc_everything__uuid (uuid),
  KEY i_everything__made (made),
  KEY fk_everything__host_id (host_id),
  CONSTRAINT fk_everything__host_id FOREIGN KEY (host_id) REFERENCES host (id) ON DELETE CASCADE,
  CONSTRAINT ck_everything__price CHECK (price < 1000000)
) ENGINE=InnoDB;
INSERT INTO everything (id, uuid, description, second, latin, small_float, big_double, price, huge, flag, mask, data, fixed, story, kind, tags,
                        made, precise, day, at_time, stamp, born, details, host_id) VALUES
  (1, '6f1c', 'plain', 'second', 'cafe', 0.1, 0.1, 1.5, 1, 1, b'101', x'00010203', x'00', REPEAT('long ', 20000), 'a', 'x,y',
   '2026-01-02 03:04:05', '2026-01-02 03:04:05.123456', '2026-01-02', '10:00:00.125', '2026-01-02 03:04:05', 2026, '{"a": 1, "b": [1, 2]}', 1),
  (2, '6f2c', 'NULL', NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   '2026-01-02 03:04:05', NULL, NULL, NULL),
  (3, '6f3c', NULL, '', '', 3.4e38, 1.7976931348623157e308, -0.0000000001, 18446744073709551615, -128, b'111111111111', '', x'0000000000000000', '',
   'c', '', '0000-00-00 00:00:00', '2026-01-02 03:04:05.000001', '0000-00-00', '-10:00:00', '1970-01-01 00:00:01', 0, '[]', 2),
  (4, '6f4c', 'tab\tnewline\nback\\slash "quote" ''single''', 'emoji 😀', 'caf\xe9', 16777216, 1e-300, 999999.9999999999, 9223372036854775808, 127,
   b'0', x'220A5C09', x'FFFFFFFFFFFFFFFF', 'Größe', 'b', 'z', '2026-12-31 23:59:59', NULL, '9999-12-31', '838:59:59', '2038-01-19 03:14:07', 2155,
   '{"emoji": "😀"}', 9),
  (5, NULL, 'same', 'case', 'x', 1.00000001, 123456789.12345678, 0, 0, 0, b'1', x'61', x'61', 'a', 'a', 'x', '2026-05-05 05:05:05', NULL, NULL, NULL,
   '2026-05-05 05:05:05', NULL, NULL, 1),
  (6, '', 'swap one', 'left#', 'right', 5, 5, 5, 5, 5, b'101', x'05', x'05', '5', 'a', 'y', '2026-06-06 06:06:06', NULL, NULL, NULL,
   '2026-06-06 06:06:06', NULL, NULL, 1),
  (7, '7', 'swap two', 'left', '#right', 7, 7, 7, 7, 7, b'111', x'07', x'07', '7', 'a', 'y', '2026-07-07 07:07:07', NULL, NULL, NULL,
   '2026-07-07 07:07:07', NULL, NULL, 1);
CREATE TABLE keyless (name varchar(32), value int) ENGINE=InnoDB;
INSERT INTO keyless VALUES ('one', 1), ('two', 2), ('two', 2), ('three', 3), (NULL, NULL), ('four', 4);
CREATE TABLE empty_one (id int NOT NULL AUTO_INCREMENT, note varchar(10) DEFAULT 'x', PRIMARY KEY (id)) ENGINE=InnoDB;
CREATE TABLE counted (id int unsigned NOT NULL AUTO_INCREMENT, note varchar(10),
  changed timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (id)) ENGINE=InnoDB AUTO_INCREMENT=5000;
INSERT INTO counted VALUES (1, 'a', '2026-01-01 00:00:00'), (2, 'b', '2026-01-01 00:00:00');
CREATE TABLE composite (zone varchar(20) NOT NULL, number int NOT NULL, note text, PRIMARY KEY (zone, number)) ENGINE=InnoDB;
INSERT INTO composite VALUES ('Zürich', 1, 'a'), ('Zürich', 2, 'b'), ('Bern', 1, 'c');
CREATE TABLE by_year (id int NOT NULL, made year NOT NULL, PRIMARY KEY (id, made)) ENGINE=InnoDB
  PARTITION BY RANGE (made) (PARTITION p2025 VALUES LESS THAN (2026), PARTITION p2026 VALUES LESS THAN (2027));
INSERT INTO by_year VALUES (1, 2025), (2, 2026);
CREATE DEFINER=cloud@localhost SQL SECURITY DEFINER VIEW host_view AS SELECT id, name FROM host WHERE removed IS NULL;
CREATE DEFINER=cloud@localhost SQL SECURITY DEFINER VIEW view_of_view AS SELECT name FROM host_view;
DELIMITER $$
CREATE DEFINER=cloud@localhost PROCEDURE add_host (IN given varchar(255)) BEGIN INSERT INTO host (name) VALUES (given); END $$
CREATE DEFINER=cloud@localhost FUNCTION twice (given int) RETURNS int DETERMINISTIC RETURN given * 2 $$
CREATE DEFINER=cloud@localhost TRIGGER host_before BEFORE INSERT ON host FOR EACH ROW BEGIN SET NEW.name = TRIM(NEW.name); END $$
CREATE DEFINER=cloud@localhost EVENT clean ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01 00:00:00' DISABLE DO DELETE FROM damage.keyless WHERE value < 0 $$
DELIMITER ;
