DROP VIEW IF EXISTS `cloud`.`volume_view`;

CREATE VIEW `cloud`.`volume_view` AS
SELECT
  `volumes`.`id` AS `id`,
  `volumes`.`uuid` AS `uuid`,
  `volumes`.`name` AS `name`,
  `volumes`.`device_id` AS `device_id`,
  `volumes`.`volume_type` AS `volume_type`,
  `volumes`.`provisioning_type` AS `provisioning_type`,
  `volumes`.`size` AS `size`,
  `volumes`.`created` AS `created`,
  `volumes`.`state` AS `state`,
  `volumes`.`attached` AS `attached`,
  `volumes`.`removed` AS `removed`,
  `volumes`.`display_volume` AS `display_volume`,
  `volumes`.`format` AS `format`,
  `volumes`.`path` AS `path`,
  `volumes`.`chain_info` AS `chain_info`,
  `volumes`.`external_uuid` AS `external_uuid`,
  `volumes`.`encrypt_format` AS `encrypt_format`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`,
  `data_center`.`id` AS `data_center_id`,
  `data_center`.`uuid` AS `data_center_uuid`,
  `data_center`.`name` AS `data_center_name`,
  `vm_instance`.`id` AS `vm_id`,
  `vm_instance`.`uuid` AS `vm_uuid`,
  `vm_instance`.`name` AS `vm_name`,
  `vm_instance`.`state` AS `vm_state`,
  `disk_offering`.`id` AS `disk_offering_id`,
  `disk_offering`.`uuid` AS `disk_offering_uuid`,
  `disk_offering`.`name` AS `disk_offering_name`,
  `storage_pool`.`id` AS `pool_id`,
  `storage_pool`.`uuid` AS `pool_uuid`,
  `storage_pool`.`name` AS `pool_name`
FROM `cloud`.`volumes` AS `volumes`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `volumes`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `volumes`.`domain_id`
  LEFT JOIN `cloud`.`data_center` AS `data_center` ON `data_center`.`id` = `volumes`.`data_center_id`
  LEFT JOIN `cloud`.`vm_instance` AS `vm_instance` ON `vm_instance`.`id` = `volumes`.`instance_id`
  LEFT JOIN `cloud`.`disk_offering` AS `disk_offering` ON `disk_offering`.`id` = `volumes`.`disk_offering_id`
  LEFT JOIN `cloud`.`storage_pool` AS `storage_pool` ON `storage_pool`.`id` = `volumes`.`pool_id`;
