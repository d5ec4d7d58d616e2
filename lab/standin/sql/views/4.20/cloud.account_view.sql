DROP VIEW IF EXISTS `cloud`.`account_view`;

CREATE VIEW `cloud`.`account_view` AS
SELECT
  `account`.`id` AS `id`,
  `account`.`uuid` AS `uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `type`,
  `account`.`role_id` AS `role_id`,
  `account`.`state` AS `state`,
  `account`.`created` AS `created`,
  `account`.`removed` AS `removed`,
  `account`.`cleanup_needed` AS `cleanup_needed`,
  `account`.`network_domain` AS `network_domain`,
  `account`.`default` AS `default`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`,
  (SELECT COUNT(*) FROM `cloud`.`vm_instance` AS `vm` WHERE `vm`.`account_id` = `account`.`id` AND `vm`.`type` = 'User' AND `vm`.`removed` IS NULL) AS `vmTotal`
FROM `cloud`.`account` AS `account`
  LEFT JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `account`.`domain_id`;
