DROP VIEW IF EXISTS `cloud`.`resource_tag_view`;

CREATE VIEW `cloud`.`resource_tag_view` AS
SELECT
  `resource_tags`.`id` AS `id`,
  `resource_tags`.`uuid` AS `uuid`,
  `resource_tags`.`key` AS `key`,
  `resource_tags`.`value` AS `value`,
  `resource_tags`.`resource_id` AS `resource_id`,
  `resource_tags`.`resource_uuid` AS `resource_uuid`,
  `resource_tags`.`resource_type` AS `resource_type`,
  `resource_tags`.`customer` AS `customer`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`
FROM `cloud`.`resource_tags` AS `resource_tags`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `resource_tags`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `resource_tags`.`domain_id`;
