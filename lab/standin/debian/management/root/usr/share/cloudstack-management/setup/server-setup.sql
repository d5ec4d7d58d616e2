USE `cloud`;
CREATE TABLE `configuration` (
  `category` varchar(255) NOT NULL DEFAULT 'Advanced',
  `instance` varchar(255) NOT NULL,
  `component` varchar(255) NOT NULL DEFAULT 'management-server',
  `name` varchar(255) NOT NULL,
  `value` varchar(8191) DEFAULT NULL,
  `description` varchar(1024) DEFAULT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB;
INSERT INTO `configuration` (`category`, `instance`, `name`, `value`) VALUES
  ('Advanced', 'DEFAULT', 'dynamic.apichecker.enabled', 'true'),
  ('Advanced', 'DEFAULT', 'ca.plugin.root.auth.strictness', 'true');
