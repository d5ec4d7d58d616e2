DROP VIEW IF EXISTS `cloud`.`affinity_group_view`;

CREATE VIEW `cloud`.`affinity_group_view` AS
SELECT
  `affinity_group`.`id` AS `id`,
  `affinity_group`.`name` AS `name`,
  `affinity_group`.`type` AS `type`,
  `affinity_group`.`uuid` AS `uuid`,
  `affinity_group`.`description` AS `description`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`
FROM `cloud`.`affinity_group` AS `affinity_group`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `affinity_group`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `affinity_group`.`domain_id`;
