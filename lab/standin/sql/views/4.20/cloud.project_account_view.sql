DROP VIEW IF EXISTS `cloud`.`project_account_view`;

CREATE VIEW `cloud`.`project_account_view` AS
SELECT
  `project_account`.`id` AS `id`,
  `project_account`.`account_role` AS `account_role`,
  `projects`.`id` AS `project_id`,
  `projects`.`uuid` AS `project_uuid`,
  `projects`.`name` AS `project_name`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`
FROM `cloud`.`project_account` AS `project_account`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `project_account`.`account_id`
  JOIN `cloud`.`projects` AS `projects` ON `projects`.`id` = `project_account`.`project_id`;
