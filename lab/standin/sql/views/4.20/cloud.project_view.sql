DROP VIEW IF EXISTS `cloud`.`project_view`;

CREATE VIEW `cloud`.`project_view` AS
SELECT
  `projects`.`id` AS `id`,
  `projects`.`uuid` AS `uuid`,
  `projects`.`name` AS `name`,
  `projects`.`display_text` AS `display_text`,
  `projects`.`state` AS `state`,
  `projects`.`removed` AS `removed`,
  `projects`.`created` AS `created`,
  `projects`.`project_account_id` AS `project_account_id`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`
FROM `cloud`.`projects` AS `projects`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `projects`.`domain_id`;
