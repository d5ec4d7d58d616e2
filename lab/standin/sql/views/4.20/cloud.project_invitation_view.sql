DROP VIEW IF EXISTS `cloud`.`project_invitation_view`;

CREATE VIEW `cloud`.`project_invitation_view` AS
SELECT
  `project_invitations`.`id` AS `id`,
  `project_invitations`.`uuid` AS `uuid`,
  `project_invitations`.`email` AS `email`,
  `project_invitations`.`created` AS `created`,
  `project_invitations`.`state` AS `state`,
  `projects`.`id` AS `project_id`,
  `projects`.`uuid` AS `project_uuid`,
  `projects`.`name` AS `project_name`
FROM `cloud`.`project_invitations` AS `project_invitations`
  LEFT JOIN `cloud`.`projects` AS `projects` ON `projects`.`id` = `project_invitations`.`project_id`;
