DROP VIEW IF EXISTS `cloud`.`gui_themes_view`;

CREATE VIEW `cloud`.`gui_themes_view` AS
SELECT
  `gui_themes`.`id` AS `id`,
  `gui_themes`.`uuid` AS `uuid`,
  `gui_themes`.`name` AS `name`,
  `gui_themes`.`description` AS `description`,
  `gui_themes`.`css` AS `css`,
  `gui_themes`.`json_configuration` AS `json_configuration`,
  `gui_themes`.`recursive_domains` AS `recursive_domains`,
  `gui_themes`.`is_public` AS `is_public`,
  `gui_themes`.`created` AS `created`,
  `gui_themes`.`removed` AS `removed`
FROM `cloud`.`gui_themes` AS `gui_themes`;
