DROP VIEW IF EXISTS `cloud`.`data_center_view`;

CREATE VIEW `cloud`.`data_center_view` AS
SELECT
  `data_center`.`id` AS `id`,
  `data_center`.`uuid` AS `uuid`,
  `data_center`.`name` AS `name`,
  `data_center`.`is_security_group_enabled` AS `is_security_group_enabled`,
  `data_center`.`is_local_storage_enabled` AS `is_local_storage_enabled`,
  `data_center`.`description` AS `description`,
  `data_center`.`dns1` AS `dns1`,
  `data_center`.`dns2` AS `dns2`,
  `data_center`.`internal_dns1` AS `internal_dns1`,
  `data_center`.`internal_dns2` AS `internal_dns2`,
  `data_center`.`guest_network_cidr` AS `guest_network_cidr`,
  `data_center`.`domain` AS `domain`,
  `data_center`.`networktype` AS `networktype`,
  `data_center`.`allocation_state` AS `allocation_state`,
  `data_center`.`zone_token` AS `zone_token`,
  `data_center`.`dhcp_provider` AS `dhcp_provider`,
  `data_center`.`type` AS `type`,
  `data_center`.`removed` AS `removed`,
  `data_center`.`sort_key` AS `sort_key`,
  `data_center`.`storage_access_groups` AS `storage_access_groups`
FROM `cloud`.`data_center` AS `data_center`;
