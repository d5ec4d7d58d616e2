DROP VIEW IF EXISTS `cloud`.`service_offering_view`;

CREATE VIEW `cloud`.`service_offering_view` AS
SELECT
  `service_offering`.`id` AS `id`,
  `service_offering`.`uuid` AS `uuid`,
  `service_offering`.`name` AS `name`,
  `service_offering`.`display_text` AS `display_text`,
  `service_offering`.`created` AS `created`,
  `service_offering`.`removed` AS `removed`,
  `service_offering`.`cpu` AS `cpu`,
  `service_offering`.`speed` AS `speed`,
  `service_offering`.`ram_size` AS `ram_size`,
  `service_offering`.`nw_rate` AS `nw_rate`,
  `service_offering`.`mc_rate` AS `mc_rate`,
  `service_offering`.`ha_enabled` AS `ha_enabled`,
  `service_offering`.`limit_cpu_use` AS `limit_cpu_use`,
  `service_offering`.`host_tag` AS `host_tag`,
  `service_offering`.`default_use` AS `default_use`,
  `service_offering`.`vm_type` AS `vm_type`,
  `service_offering`.`sort_key` AS `sort_key`,
  `service_offering`.`is_volatile` AS `is_volatile`,
  `service_offering`.`state` AS `state`,
  `service_offering`.`system_use` AS `system_use`,
  `service_offering`.`customized` AS `customized`,
  `disk_offering`.`id` AS `disk_offering_id`,
  `disk_offering`.`uuid` AS `disk_offering_uuid`,
  `disk_offering`.`provisioning_type` AS `provisioning_type`,
  `disk_offering`.`tags` AS `tags`,
  `service_offering`.`gpu_count` AS `gpu_count`,
  `service_offering`.`gpu_display` AS `gpu_display`
FROM `cloud`.`service_offering` AS `service_offering`
  LEFT JOIN `cloud`.`disk_offering` AS `disk_offering` ON `disk_offering`.`id` = `service_offering`.`disk_offering_id`;
