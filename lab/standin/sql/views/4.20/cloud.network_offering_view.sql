DROP VIEW IF EXISTS `cloud`.`network_offering_view`;

CREATE VIEW `cloud`.`network_offering_view` AS
SELECT
  `network_offerings`.`id` AS `id`,
  `network_offerings`.`uuid` AS `uuid`,
  `network_offerings`.`name` AS `name`,
  `network_offerings`.`unique_name` AS `unique_name`,
  `network_offerings`.`display_text` AS `display_text`,
  `network_offerings`.`nw_rate` AS `nw_rate`,
  `network_offerings`.`mc_rate` AS `mc_rate`,
  `network_offerings`.`traffic_type` AS `traffic_type`,
  `network_offerings`.`tags` AS `tags`,
  `network_offerings`.`system_only` AS `system_only`,
  `network_offerings`.`specify_vlan` AS `specify_vlan`,
  `network_offerings`.`service_offering_id` AS `service_offering_id`,
  `network_offerings`.`conserve_mode` AS `conserve_mode`,
  `network_offerings`.`created` AS `created`,
  `network_offerings`.`removed` AS `removed`,
  `network_offerings`.`default` AS `default`,
  `network_offerings`.`availability` AS `availability`,
  `network_offerings`.`sort_key` AS `sort_key`,
  `network_offerings`.`state` AS `state`,
  `network_offerings`.`guest_type` AS `guest_type`,
  `network_offerings`.`is_persistent` AS `is_persistent`,
  `network_offerings`.`for_vpc` AS `for_vpc`
FROM `cloud`.`network_offerings` AS `network_offerings`;
