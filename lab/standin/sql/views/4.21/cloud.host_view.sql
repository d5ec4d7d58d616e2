DROP VIEW IF EXISTS `cloud`.`host_view`;

CREATE VIEW `cloud`.`host_view` AS
SELECT
  `host`.`id` AS `id`,
  `host`.`uuid` AS `uuid`,
  `host`.`name` AS `name`,
  `host`.`status` AS `status`,
  `host`.`disconnected` AS `disconnected`,
  `host`.`type` AS `type`,
  `host`.`private_ip_address` AS `private_ip_address`,
  `host`.`version` AS `version`,
  `host`.`hypervisor_type` AS `hypervisor_type`,
  `host`.`hypervisor_version` AS `hypervisor_version`,
  `host`.`capabilities` AS `capabilities`,
  `host`.`last_ping` AS `last_ping`,
  `host`.`created` AS `created`,
  `host`.`removed` AS `removed`,
  `host`.`resource_state` AS `resource_state`,
  `host`.`mgmt_server_id` AS `mgmt_server_id`,
  `host`.`cpu_sockets` AS `cpu_sockets`,
  `host`.`cpus` AS `cpus`,
  `host`.`speed` AS `speed`,
  `host`.`ram` AS `ram`,
  `host`.`arch` AS `arch`,
  `cluster`.`id` AS `cluster_id`,
  `cluster`.`uuid` AS `cluster_uuid`,
  `cluster`.`name` AS `cluster_name`,
  `cluster`.`cluster_type` AS `cluster_type`,
  `data_center`.`id` AS `data_center_id`,
  `data_center`.`uuid` AS `data_center_uuid`,
  `data_center`.`name` AS `data_center_name`,
  `host_pod_ref`.`id` AS `pod_id`,
  `host_pod_ref`.`uuid` AS `pod_uuid`,
  `host_pod_ref`.`name` AS `pod_name`,
  `host`.`last_mgmt_server_id` AS `last_mgmt_server_id`,
  `host`.`storage_access_groups` AS `storage_access_groups`
FROM `cloud`.`host` AS `host`
  LEFT JOIN `cloud`.`cluster` AS `cluster` ON `cluster`.`id` = `host`.`cluster_id`
  LEFT JOIN `cloud`.`data_center` AS `data_center` ON `data_center`.`id` = `host`.`data_center_id`
  LEFT JOIN `cloud`.`host_pod_ref` AS `host_pod_ref` ON `host_pod_ref`.`id` = `host`.`pod_id`;
