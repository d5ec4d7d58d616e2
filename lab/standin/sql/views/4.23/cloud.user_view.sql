DROP VIEW IF EXISTS `cloud`.`user_view`;

CREATE VIEW `cloud`.`user_view` AS
SELECT
  `user`.`id` AS `id`,
  `user`.`uuid` AS `uuid`,
  `user`.`username` AS `username`,
  `user`.`firstname` AS `firstname`,
  `user`.`lastname` AS `lastname`,
  `user`.`email` AS `email`,
  `user`.`state` AS `state`,
  `user`.`created` AS `created`,
  `user`.`removed` AS `removed`,
  `user`.`timezone` AS `timezone`,
  `user`.`incorrect_login_attempts` AS `incorrect_login_attempts`,
  `user`.`source` AS `source`,
  `user`.`default` AS `default`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`
FROM `cloud`.`user` AS `user`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `user`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `account`.`domain_id`;
