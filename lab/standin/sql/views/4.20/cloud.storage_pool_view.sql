DROP VIEW IF EXISTS `cloud`.`storage_pool_view`;

CREATE VIEW `cloud`.`storage_pool_view` AS
SELECT
  `storage_pool`.`id` AS `id`,
  `storage_pool`.`uuid` AS `uuid`,
  `storage_pool`.`name` AS `name`,
  `storage_pool`.`status` AS `status`,
  `storage_pool`.`path` AS `path`,
  `storage_pool`.`pool_type` AS `pool_type`,
  `storage_pool`.`host_address` AS `host_address`,
  `storage_pool`.`created` AS `created`,
  `storage_pool`.`removed` AS `removed`,
  `storage_pool`.`capacity_bytes` AS `capacity_bytes`,
  `storage_pool`.`capacity_iops` AS `capacity_iops`,
  `storage_pool`.`scope` AS `scope`,
  `storage_pool`.`hypervisor` AS `hypervisor`,
  `storage_pool`.`storage_provider_name` AS `storage_provider_name`,
  `storage_pool`.`parent` AS `parent`,
  `cluster`.`id` AS `cluster_id`,
  `cluster`.`uuid` AS `cluster_uuid`,
  `cluster`.`name` AS `cluster_name`,
  `data_center`.`id` AS `data_center_id`,
  `data_center`.`uuid` AS `data_center_uuid`,
  `data_center`.`name` AS `data_center_name`,
  `host_pod_ref`.`id` AS `pod_id`,
  `host_pod_ref`.`uuid` AS `pod_uuid`,
  `host_pod_ref`.`name` AS `pod_name`
FROM `cloud`.`storage_pool` AS `storage_pool`
  LEFT JOIN `cloud`.`cluster` AS `cluster` ON `cluster`.`id` = `storage_pool`.`cluster_id`
  LEFT JOIN `cloud`.`data_center` AS `data_center` ON `data_center`.`id` = `storage_pool`.`data_center_id`
  LEFT JOIN `cloud`.`host_pod_ref` AS `host_pod_ref` ON `host_pod_ref`.`id` = `storage_pool`.`pod_id`;
