DROP VIEW IF EXISTS `cloud`.`last_annotation_view`;

CREATE VIEW `cloud`.`last_annotation_view` AS
SELECT
  `annotations`.`uuid` AS `uuid`,
  `annotations`.`annotation` AS `annotation`,
  `annotations`.`entity_uuid` AS `entity_uuid`,
  `annotations`.`entity_type` AS `entity_type`,
  `annotations`.`user_uuid` AS `user_uuid`,
  `annotations`.`created` AS `created`
FROM `cloud`.`annotations` AS `annotations`
WHERE `annotations`.`removed` IS NULL
  AND `annotations`.`id` = (
    SELECT MAX(`latest`.`id`) FROM `cloud`.`annotations` AS `latest`
     WHERE `latest`.`entity_uuid` = `annotations`.`entity_uuid` AND `latest`.`removed` IS NULL);
