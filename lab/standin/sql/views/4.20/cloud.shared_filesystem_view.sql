DROP VIEW IF EXISTS `cloud`.`shared_filesystem_view`;

CREATE VIEW `cloud`.`shared_filesystem_view` AS
SELECT
  `shared_filesystem`.`id` AS `id`,
  `shared_filesystem`.`uuid` AS `uuid`,
  `shared_filesystem`.`name` AS `name`,
  `shared_filesystem`.`description` AS `description`,
  `shared_filesystem`.`state` AS `state`,
  `shared_filesystem`.`created` AS `created`,
  `shared_filesystem`.`removed` AS `removed`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`
FROM `cloud`.`shared_filesystem` AS `shared_filesystem`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `shared_filesystem`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `shared_filesystem`.`domain_id`;
