DROP VIEW IF EXISTS `cloud`.`user_vm_view`;

CREATE VIEW `cloud`.`user_vm_view` AS
SELECT
  `vm_instance`.`id` AS `id`,
  `vm_instance`.`name` AS `name`,
  `vm_instance`.`uuid` AS `uuid`,
  `vm_instance`.`instance_name` AS `instance_name`,
  `vm_instance`.`state` AS `state`,
  `vm_instance`.`created` AS `created`,
  `vm_instance`.`removed` AS `removed`,
  `vm_instance`.`update_time` AS `update_time`,
  `vm_instance`.`ha_enabled` AS `ha_enabled`,
  `vm_instance`.`hypervisor_type` AS `hypervisor_type`,
  `vm_instance`.`pod_id` AS `pod_id`,
  `vm_instance`.`private_ip_address` AS `private_ip_address`,
  `vm_instance`.`private_mac_address` AS `private_mac_address`,
  `vm_instance`.`vm_type` AS `vm_type`,
  `vm_instance`.`power_state` AS `power_state`,
  `user_vm`.`display_name` AS `display_name`,
  `user_vm`.`user_data` AS `user_data`,
  `user_vm`.`user_vm_type` AS `user_vm_type`,
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
  `host`.`id` AS `host_id`,
  `host`.`uuid` AS `host_uuid`,
  `host`.`name` AS `host_name`,
  `vm_template`.`id` AS `template_id`,
  `vm_template`.`uuid` AS `template_uuid`,
  `vm_template`.`name` AS `template_name`,
  `service_offering`.`id` AS `service_offering_id`,
  `service_offering`.`uuid` AS `service_offering_uuid`,
  `service_offering`.`name` AS `service_offering_name`,
  `detail`.`name` AS `detail_name`,
  `detail`.`value` AS `detail_value`
FROM `cloud`.`user_vm` AS `user_vm`
  JOIN `cloud`.`vm_instance` AS `vm_instance` ON `vm_instance`.`id` = `user_vm`.`id`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `vm_instance`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `vm_instance`.`domain_id`
  LEFT JOIN `cloud`.`data_center` AS `data_center` ON `data_center`.`id` = `vm_instance`.`data_center_id`
  LEFT JOIN `cloud`.`host` AS `host` ON `host`.`id` = `vm_instance`.`host_id`
  LEFT JOIN `cloud`.`vm_template` AS `vm_template` ON `vm_template`.`id` = `vm_instance`.`vm_template_id`
  LEFT JOIN `cloud`.`service_offering` AS `service_offering` ON `service_offering`.`id` = `vm_instance`.`service_offering_id`
  LEFT JOIN `cloud`.`vm_instance_details` AS `detail` ON `detail`.`vm_id` = `vm_instance`.`id`;
