DROP VIEW IF EXISTS `cloud`.`event_view`;

CREATE VIEW `cloud`.`event_view` AS
SELECT
  `event`.`id` AS `id`,
  `event`.`uuid` AS `uuid`,
  `event`.`type` AS `type`,
  `event`.`state` AS `state`,
  `event`.`description` AS `description`,
  `event`.`resource_id` AS `resource_id`,
  `event`.`resource_type` AS `resource_type`,
  `event`.`created` AS `created`,
  `event`.`level` AS `level`,
  `event`.`parameters` AS `parameters`,
  `event`.`start_id` AS `start_id`,
  `event`.`archived` AS `archived`,
  `event`.`display` AS `display`,
  `user`.`id` AS `user_id`,
  `user`.`username` AS `user_name`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`
FROM `cloud`.`event` AS `event`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `event`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `event`.`domain_id`
  JOIN `cloud`.`user` AS `user` ON `user`.`id` = `event`.`user_id`;
