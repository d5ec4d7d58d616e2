DROP VIEW IF EXISTS `cloud`.`security_group_view`;

CREATE VIEW `cloud`.`security_group_view` AS
SELECT
  `security_group`.`id` AS `id`,
  `security_group`.`uuid` AS `uuid`,
  `security_group`.`name` AS `name`,
  `security_group`.`description` AS `description`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`
FROM `cloud`.`security_group` AS `security_group`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `security_group`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `security_group`.`domain_id`;
