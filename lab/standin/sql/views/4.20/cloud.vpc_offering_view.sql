DROP VIEW IF EXISTS `cloud`.`vpc_offering_view`;

CREATE VIEW `cloud`.`vpc_offering_view` AS
SELECT
  `vpc_offerings`.`id` AS `id`,
  `vpc_offerings`.`uuid` AS `uuid`,
  `vpc_offerings`.`name` AS `name`,
  `vpc_offerings`.`unique_name` AS `unique_name`,
  `vpc_offerings`.`display_text` AS `display_text`,
  `vpc_offerings`.`state` AS `state`,
  `vpc_offerings`.`default` AS `default`,
  `vpc_offerings`.`created` AS `created`,
  `vpc_offerings`.`removed` AS `removed`,
  `vpc_offerings`.`service_offering_id` AS `service_offering_id`,
  `vpc_offerings`.`supports_distributed_router` AS `supports_distributed_router`,
  `vpc_offerings`.`supports_region_level_vpc` AS `supports_region_level_vpc`,
  `vpc_offerings`.`redundant_router_service` AS `redundant_router_service`,
  `vpc_offerings`.`sort_key` AS `sort_key`
FROM `cloud`.`vpc_offerings` AS `vpc_offerings`;
