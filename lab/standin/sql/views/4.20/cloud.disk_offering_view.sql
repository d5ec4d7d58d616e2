DROP VIEW IF EXISTS `cloud`.`disk_offering_view`;

CREATE VIEW `cloud`.`disk_offering_view` AS
SELECT
  `disk_offering`.`id` AS `id`,
  `disk_offering`.`uuid` AS `uuid`,
  `disk_offering`.`name` AS `name`,
  `disk_offering`.`display_text` AS `display_text`,
  `disk_offering`.`provisioning_type` AS `provisioning_type`,
  `disk_offering`.`disk_size` AS `disk_size`,
  `disk_offering`.`tags` AS `tags`,
  `disk_offering`.`customized` AS `customized`,
  `disk_offering`.`sort_key` AS `sort_key`,
  `disk_offering`.`created` AS `created`,
  `disk_offering`.`removed` AS `removed`,
  `disk_offering`.`display_offering` AS `display_offering`,
  `disk_offering`.`state` AS `state`,
  `disk_offering`.`cache_mode` AS `cache_mode`,
  `disk_offering`.`encrypt` AS `encrypt`
FROM `cloud`.`disk_offering` AS `disk_offering`
WHERE `disk_offering`.`compute_only` = 0;
