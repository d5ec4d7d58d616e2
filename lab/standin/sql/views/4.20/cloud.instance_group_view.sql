DROP VIEW IF EXISTS `cloud`.`instance_group_view`;

CREATE VIEW `cloud`.`instance_group_view` AS
SELECT
  `instance_group`.`id` AS `id`,
  `instance_group`.`uuid` AS `uuid`,
  `instance_group`.`name` AS `name`,
  `instance_group`.`removed` AS `removed`,
  `instance_group`.`created` AS `created`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`
FROM `cloud`.`instance_group` AS `instance_group`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `instance_group`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `account`.`domain_id`;
