DROP VIEW IF EXISTS `cloud`.`domain_router_view`;

CREATE VIEW `cloud`.`domain_router_view` AS
SELECT
  `vm_instance`.`id` AS `id`,
  `vm_instance`.`name` AS `name`,
  `vm_instance`.`uuid` AS `uuid`,
  `vm_instance`.`instance_name` AS `instance_name`,
  `vm_instance`.`state` AS `state`,
  `vm_instance`.`created` AS `created`,
  `vm_instance`.`removed` AS `removed`,
  `vm_instance`.`pod_id` AS `pod_id`,
  `vm_instance`.`private_ip_address` AS `private_ip_address`,
  `vm_instance`.`hypervisor_type` AS `hypervisor_type`,
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
  `data_center`.`dns1` AS `dns1`,
  `data_center`.`dns2` AS `dns2`,
  `host`.`id` AS `host_id`,
  `host`.`uuid` AS `host_uuid`,
  `host`.`name` AS `host_name`,
  `vm_template`.`id` AS `template_id`,
  `vm_template`.`uuid` AS `template_uuid`,
  `domain_router`.`template_version` AS `template_version`,
  `domain_router`.`scripts_version` AS `scripts_version`,
  `domain_router`.`software_version` AS `software_version`,
  `domain_router`.`is_redundant_router` AS `is_redundant_router`,
  `domain_router`.`redundant_state` AS `redundant_state`,
  `domain_router`.`stop_pending` AS `stop_pending`,
  `domain_router`.`role` AS `role`,
  `domain_router`.`vpc_id` AS `vpc_id`
FROM `cloud`.`domain_router` AS `domain_router`
  JOIN `cloud`.`vm_instance` AS `vm_instance` ON `vm_instance`.`id` = `domain_router`.`id`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `vm_instance`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `vm_instance`.`domain_id`
  LEFT JOIN `cloud`.`data_center` AS `data_center` ON `data_center`.`id` = `vm_instance`.`data_center_id`
  LEFT JOIN `cloud`.`host` AS `host` ON `host`.`id` = `vm_instance`.`host_id`
  LEFT JOIN `cloud`.`vm_template` AS `vm_template` ON `vm_template`.`id` = `vm_instance`.`vm_template_id`;
