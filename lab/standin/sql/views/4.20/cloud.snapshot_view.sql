DROP VIEW IF EXISTS `cloud`.`snapshot_view`;

CREATE VIEW `cloud`.`snapshot_view` AS
SELECT
  `snapshots`.`id` AS `id`,
  `snapshots`.`uuid` AS `uuid`,
  `snapshots`.`name` AS `name`,
  `snapshots`.`status` AS `status`,
  `snapshots`.`snapshot_type` AS `snapshot_type`,
  `snapshots`.`type_description` AS `type_description`,
  `snapshots`.`size` AS `size`,
  `snapshots`.`created` AS `created`,
  `snapshots`.`removed` AS `removed`,
  `snapshots`.`hypervisor_type` AS `hypervisor_type`,
  `snapshots`.`location_type` AS `location_type`,
  `volumes`.`id` AS `volume_id`,
  `volumes`.`uuid` AS `volume_uuid`,
  `volumes`.`name` AS `volume_name`,
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
  `data_center`.`name` AS `data_center_name`
FROM `cloud`.`snapshots` AS `snapshots`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `snapshots`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `snapshots`.`domain_id`
  LEFT JOIN `cloud`.`data_center` AS `data_center` ON `data_center`.`id` = `snapshots`.`data_center_id`
  LEFT JOIN `cloud`.`volumes` AS `volumes` ON `volumes`.`id` = `snapshots`.`volume_id`;
