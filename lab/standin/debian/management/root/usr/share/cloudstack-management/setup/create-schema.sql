USE `cloud`;
CREATE TABLE `version` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `version` char(40) NOT NULL COMMENT 'version',
  `updated` datetime NOT NULL COMMENT 'Date this version table was updated',
  `step` char(32) NOT NULL COMMENT 'Step in the upgrade to this version',
  PRIMARY KEY (`id`),
  UNIQUE KEY `version` (`version`)
) ENGINE=InnoDB;
INSERT INTO `version` (`version`, `updated`, `step`) VALUES ('4.0.0', UTC_TIMESTAMP(), 'Complete');
