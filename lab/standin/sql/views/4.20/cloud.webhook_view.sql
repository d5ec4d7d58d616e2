DROP VIEW IF EXISTS `cloud`.`webhook_view`;

CREATE VIEW `cloud`.`webhook_view` AS
SELECT
  `webhook`.`id` AS `id`,
  `webhook`.`uuid` AS `uuid`,
  `webhook`.`name` AS `name`,
  `webhook`.`description` AS `description`,
  `webhook`.`state` AS `state`,
  `webhook`.`payload_url` AS `payload_url`,
  `webhook`.`scope` AS `scope`,
  `webhook`.`created` AS `created`,
  `webhook`.`removed` AS `removed`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`
FROM `cloud`.`webhook` AS `webhook`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `webhook`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `webhook`.`domain_id`;
