-- What changes in the tables from CloudStack 4.20.1.0 to 4.21.0.0.
-- A line `-- if TABLE` says that the next statement is only run where the database has that table.

ALTER TABLE `cloud`.`host` ADD COLUMN `last_mgmt_server_id` bigint(20) unsigned DEFAULT NULL;

ALTER TABLE `cloud`.`user_vm_details` RENAME TO `cloud`.`vm_instance_details`;

CALL `cloud`.`IDEMPOTENT_DROP_FOREIGN_KEY`('cloud.vm_instance_details', 'fk_user_vm_details__vm_id');

CALL `cloud`.`IDEMPOTENT_DROP_INDEX`('fk_user_vm_details__vm_id', 'cloud.vm_instance_details');

CALL `cloud`.`IDEMPOTENT_DROP_INDEX`('i_name_vm_id', 'cloud.vm_instance_details');

CALL `cloud`.`IDEMPOTENT_ADD_KEY`('i_name_vm_id', 'cloud.vm_instance_details', '(`vm_id`, `name`)');

ALTER TABLE `cloud`.`vm_instance_details` ADD CONSTRAINT `fk_vm_instance_details__vm_id` FOREIGN KEY (`vm_id`) REFERENCES `vm_instance` (`id`) ON DELETE CASCADE;

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'control_node_service_offering_id', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'worker_node_service_offering_id', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'etcd_node_service_offering_id', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'etcd_node_count', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'control_node_template_id', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'worker_node_template_id', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'etcd_node_template_id', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'cni_config_id', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'cni_config_details', 'varchar(4096) DEFAULT NULL');

-- if `cloud`.`kubernetes_cluster`
ALTER TABLE `cloud`.`kubernetes_cluster` ADD CONSTRAINT `fk_cluster__control_node_service_offering_id` FOREIGN KEY (`control_node_service_offering_id`) REFERENCES `service_offering` (`id`) ON DELETE CASCADE;

-- if `cloud`.`kubernetes_cluster`
ALTER TABLE `cloud`.`kubernetes_cluster` ADD CONSTRAINT `fk_cluster__control_node_template_id` FOREIGN KEY (`control_node_template_id`) REFERENCES `vm_template` (`id`) ON DELETE CASCADE;

-- if `cloud`.`kubernetes_cluster`
ALTER TABLE `cloud`.`kubernetes_cluster` ADD CONSTRAINT `fk_cluster__etcd_node_service_offering_id` FOREIGN KEY (`etcd_node_service_offering_id`) REFERENCES `service_offering` (`id`) ON DELETE CASCADE;

-- if `cloud`.`kubernetes_cluster`
ALTER TABLE `cloud`.`kubernetes_cluster` ADD CONSTRAINT `fk_cluster__etcd_node_template_id` FOREIGN KEY (`etcd_node_template_id`) REFERENCES `vm_template` (`id`) ON DELETE CASCADE;

-- if `cloud`.`kubernetes_cluster`
ALTER TABLE `cloud`.`kubernetes_cluster` ADD CONSTRAINT `fk_cluster__worker_node_service_offering_id` FOREIGN KEY (`worker_node_service_offering_id`) REFERENCES `service_offering` (`id`) ON DELETE CASCADE;

-- if `cloud`.`kubernetes_cluster`
ALTER TABLE `cloud`.`kubernetes_cluster` ADD CONSTRAINT `fk_cluster__worker_node_template_id` FOREIGN KEY (`worker_node_template_id`) REFERENCES `vm_template` (`id`) ON DELETE CASCADE;

-- if `cloud`.`kubernetes_cluster_vm_map`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster_vm_map', 'etcd_node', 'tinyint(1) unsigned NOT NULL DEFAULT 0');

-- if `cloud`.`kubernetes_cluster_vm_map`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster_vm_map', 'external_node', 'tinyint(1) unsigned NOT NULL DEFAULT 0');

-- if `cloud`.`kubernetes_cluster_vm_map`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster_vm_map', 'manual_upgrade', 'tinyint(1) unsigned NOT NULL DEFAULT 0');

-- if `cloud`.`kubernetes_cluster_vm_map`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster_vm_map', 'kubernetes_node_version', 'varchar(40) DEFAULT NULL');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.host', 'storage_access_groups', 'varchar(255) DEFAULT NULL');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.cluster', 'storage_access_groups', 'varchar(255) DEFAULT NULL');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.data_center', 'storage_access_groups', 'varchar(255) DEFAULT NULL');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.host_pod_ref', 'storage_access_groups', 'varchar(255) DEFAULT NULL');

CREATE TABLE IF NOT EXISTS `cloud`.`storage_pool_and_access_group_map` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `pool_id` bigint(20) unsigned NOT NULL,
  `storage_access_group` varchar(255) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `fk_storage_pool_and_access_group_map__pool_id` (`pool_id`),
  CONSTRAINT `fk_storage_pool_and_access_group_map__pool_id` FOREIGN KEY (`pool_id`) REFERENCES `storage_pool` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

-- if `cloud`.`backups`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.backups', 'backup_schedule_id', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`backups`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.backups', 'name', 'varchar(255) NOT NULL');

-- if `cloud`.`backups`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.backups', 'description', 'varchar(1024) DEFAULT NULL');

-- if `cloud`.`backup_schedule`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.backup_schedule', 'max_backups', 'int(8) unsigned NOT NULL DEFAULT 0');

-- if `cloud`.`backup_schedule`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.backup_schedule', 'quiescevm', 'tinyint(1) DEFAULT NULL');

-- if `cloud`.`backup_schedule`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.backup_schedule', 'uuid', 'varchar(40) NOT NULL');

-- if `cloud`.`backup_schedule`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.backup_schedule', 'domain_id', 'bigint(20) DEFAULT NULL');

-- if `cloud`.`backup_schedule`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.backup_schedule', 'account_id', 'bigint(20) DEFAULT NULL');

-- if `cloud`.`console_session`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.console_session', 'console_endpoint_creator_address', 'varchar(45) DEFAULT NULL');

-- if `cloud`.`console_session`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.console_session', 'client_address', 'varchar(45) DEFAULT NULL');

-- if `cloud`.`console_session`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.console_session', 'domain_id', 'bigint(20) unsigned NOT NULL');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.guest_os_category', 'featured', 'tinyint(1) NOT NULL DEFAULT 0');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.guest_os_category', 'sort_key', 'int(11) NOT NULL DEFAULT 0');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.guest_os_category', 'created', 'datetime DEFAULT NULL');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.guest_os_category', 'removed', 'datetime DEFAULT NULL');

-- if `cloud`.`ldap_configuration`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.ldap_configuration', 'uuid', 'varchar(40) NOT NULL');

ALTER TABLE `cloud`.`networks` MODIFY COLUMN `gateway` varchar(255) DEFAULT NULL;

ALTER TABLE `cloud`.`networks` MODIFY COLUMN `cidr` varchar(255) DEFAULT NULL;

ALTER TABLE `cloud`.`networks` MODIFY COLUMN `ip6_gateway` varchar(1024) DEFAULT NULL;

ALTER TABLE `cloud`.`networks` MODIFY COLUMN `ip6_cidr` varchar(1024) DEFAULT NULL;

-- if `cloud`.`router_health_check`
ALTER TABLE `cloud`.`router_health_check` MODIFY COLUMN `check_result` varchar(16) NOT NULL;

-- if `cloud`.`snapshot_policy`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.snapshot_policy', 'domain_id', 'bigint(20) DEFAULT NULL');

-- if `cloud`.`snapshot_policy`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.snapshot_policy', 'account_id', 'bigint(20) DEFAULT NULL');

-- if `cloud`.`static_routes`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.static_routes', 'next_hop', 'varchar(50) DEFAULT NULL');

-- if `cloud`.`user_data`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.user_data', 'for_cks', 'int(1) unsigned DEFAULT 0');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.user_ip_address', 'for_router', 'tinyint(1) DEFAULT 0');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.vm_template', 'for_cks', 'int(1) unsigned DEFAULT 0');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.vpc', 'use_router_ip_resolver', 'tinyint(1) DEFAULT 0');

CREATE TABLE IF NOT EXISTS `cloud`.`reconcile_commands` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `management_server_id` bigint(20) unsigned NOT NULL,
  `host_id` bigint(20) unsigned NOT NULL,
  `request_sequence` bigint(20) unsigned NOT NULL,
  `resource_id` bigint(20) unsigned DEFAULT NULL,
  `resource_type` varchar(255) DEFAULT NULL,
  `state_by_management` varchar(255) DEFAULT NULL,
  `state_by_agent` varchar(255) DEFAULT NULL,
  `command_name` varchar(255) DEFAULT NULL,
  `command_info` mediumtext DEFAULT NULL,
  `answer_name` varchar(255) DEFAULT NULL,
  `answer_info` mediumtext DEFAULT NULL,
  `created` datetime DEFAULT NULL,
  `removed` datetime DEFAULT NULL,
  `updated` datetime DEFAULT NULL,
  `retry_count` bigint(20) unsigned DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `id` (`id`),
  KEY `i_reconcile_command__host_id` (`host_id`),
  CONSTRAINT `fk_reconcile_command__host_id` FOREIGN KEY (`host_id`) REFERENCES `host` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`netris_providers` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(40) DEFAULT NULL,
  `zone_id` bigint(20) unsigned NOT NULL,
  `host_id` bigint(20) unsigned NOT NULL,
  `name` varchar(40) DEFAULT NULL,
  `url` varchar(255) NOT NULL,
  `username` varchar(255) NOT NULL,
  `password` varchar(255) NOT NULL,
  `site_name` varchar(255) NOT NULL,
  `tenant_name` varchar(255) NOT NULL,
  `netris_tag` varchar(255) NOT NULL,
  `created` datetime NOT NULL,
  `removed` datetime DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `i_netris_providers__zone_id` (`zone_id`),
  CONSTRAINT `fk_netris_providers__zone_id` FOREIGN KEY (`zone_id`) REFERENCES `data_center` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`gui_themes` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(255) DEFAULT NULL,
  `name` varchar(2048) NOT NULL,
  `description` varchar(4096) DEFAULT NULL,
  `css` text DEFAULT NULL,
  `json_configuration` text DEFAULT NULL,
  `recursive_domains` tinyint(1) DEFAULT 0,
  `is_public` tinyint(1) DEFAULT 1,
  `created` datetime NOT NULL,
  `removed` datetime DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uuid` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`gui_themes_details` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `gui_theme_id` bigint(20) unsigned NOT NULL,
  `type` varchar(100) NOT NULL,
  `value` text NOT NULL,
  PRIMARY KEY (`id`),
  KEY `fk_gui_themes_details__gui_theme_id` (`gui_theme_id`),
  CONSTRAINT `fk_gui_themes_details__gui_theme_id` FOREIGN KEY (`gui_theme_id`) REFERENCES `gui_themes` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`gpu_card` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(40) NOT NULL,
  `device_id` varchar(4) NOT NULL,
  `device_name` varchar(255) NOT NULL,
  `name` varchar(255) NOT NULL,
  `vendor_name` varchar(255) NOT NULL,
  `vendor_id` varchar(4) NOT NULL,
  `created` datetime NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uuid` (`uuid`),
  UNIQUE KEY `vendor_id` (`vendor_id`,`device_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`vgpu_profile` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(40) NOT NULL,
  `name` varchar(255) NOT NULL,
  `description` varchar(255) DEFAULT NULL,
  `card_id` bigint(20) unsigned NOT NULL,
  `video_ram` bigint(20) unsigned DEFAULT NULL,
  `max_heads` bigint(20) unsigned DEFAULT NULL,
  `max_resolution_x` bigint(20) unsigned DEFAULT NULL,
  `max_resolution_y` bigint(20) unsigned DEFAULT NULL,
  `max_vgpu_per_pgpu` bigint(20) unsigned DEFAULT NULL,
  `created` datetime NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uuid` (`uuid`),
  UNIQUE KEY `name` (`name`,`card_id`),
  KEY `fk_vgpu_profile_card_id` (`card_id`),
  CONSTRAINT `fk_vgpu_profile_card_id` FOREIGN KEY (`card_id`) REFERENCES `gpu_card` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`gpu_device` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(40) NOT NULL,
  `card_id` bigint(20) unsigned NOT NULL,
  `vgpu_profile_id` bigint(20) unsigned DEFAULT NULL,
  `bus_address` varchar(255) NOT NULL,
  `type` varchar(32) NOT NULL,
  `host_id` bigint(20) unsigned NOT NULL,
  `vm_id` bigint(20) unsigned DEFAULT NULL,
  `numa_node` varchar(255) DEFAULT NULL,
  `pci_root` varchar(255) DEFAULT NULL,
  `parent_gpu_device_id` bigint(20) unsigned DEFAULT NULL,
  `state` varchar(32) NOT NULL,
  `managed_state` varchar(32) NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uuid` (`uuid`),
  UNIQUE KEY `bus_address` (`bus_address`,`host_id`),
  KEY `fk_gpu_devices__card_id` (`card_id`),
  KEY `fk_gpu_devices__host_id` (`host_id`),
  KEY `fk_gpu_devices__vm_id` (`vm_id`),
  KEY `fk_gpu_devices__parent_gpu_device_id` (`parent_gpu_device_id`),
  CONSTRAINT `fk_gpu_devices__card_id` FOREIGN KEY (`card_id`) REFERENCES `gpu_card` (`id`) ON DELETE CASCADE,
  CONSTRAINT `fk_gpu_devices__host_id` FOREIGN KEY (`host_id`) REFERENCES `host` (`id`) ON DELETE CASCADE,
  CONSTRAINT `fk_gpu_devices__parent_gpu_device_id` FOREIGN KEY (`parent_gpu_device_id`) REFERENCES `gpu_device` (`id`) ON DELETE SET NULL,
  CONSTRAINT `fk_gpu_devices__vm_id` FOREIGN KEY (`vm_id`) REFERENCES `vm_instance` (`id`) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`extension` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(40) NOT NULL,
  `name` varchar(255) NOT NULL,
  `description` varchar(4096) DEFAULT NULL,
  `type` varchar(255) NOT NULL,
  `relative_path` varchar(2048) NOT NULL,
  `path_ready` tinyint(1) DEFAULT 0,
  `is_user_defined` tinyint(1) DEFAULT 0,
  `state` char(32) NOT NULL,
  `created` datetime NOT NULL,
  `removed` datetime DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uuid` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`extension_details` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `extension_id` bigint(20) unsigned NOT NULL,
  `name` varchar(255) NOT NULL,
  `value` varchar(255) NOT NULL,
  `display` tinyint(1) NOT NULL DEFAULT 1,
  PRIMARY KEY (`id`),
  UNIQUE KEY `id` (`id`),
  KEY `fk_extension_details__extension_id` (`extension_id`),
  CONSTRAINT `fk_extension_details__extension_id` FOREIGN KEY (`extension_id`) REFERENCES `extension` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`extension_resource_map` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `extension_id` bigint(20) unsigned NOT NULL,
  `resource_id` bigint(20) unsigned NOT NULL,
  `resource_type` char(255) NOT NULL,
  `created` datetime NOT NULL,
  `removed` datetime DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `fk_extension_resource_map__extension_id` (`extension_id`),
  KEY `idx_extension_resource` (`resource_id`,`resource_type`),
  CONSTRAINT `fk_extension_resource_map__extension_id` FOREIGN KEY (`extension_id`) REFERENCES `extension` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`extension_resource_map_details` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `extension_resource_map_id` bigint(20) unsigned NOT NULL,
  `name` varchar(255) NOT NULL,
  `value` varchar(255) NOT NULL,
  `display` tinyint(1) NOT NULL DEFAULT 1,
  PRIMARY KEY (`id`),
  UNIQUE KEY `id` (`id`),
  KEY `fk_extension_resource_map_details__map_id` (`extension_resource_map_id`),
  CONSTRAINT `fk_extension_resource_map_details__map_id` FOREIGN KEY (`extension_resource_map_id`) REFERENCES `extension_resource_map` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`extension_custom_action` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(255) NOT NULL,
  `name` varchar(255) NOT NULL,
  `description` varchar(4096) DEFAULT NULL,
  `extension_id` bigint(20) unsigned NOT NULL,
  `resource_type` varchar(255) DEFAULT NULL,
  `allowed_role_types` int(10) unsigned NOT NULL DEFAULT 1,
  `success_message` varchar(4096) DEFAULT NULL,
  `error_message` varchar(4096) DEFAULT NULL,
  `enabled` tinyint(1) DEFAULT 1,
  `timeout` int(10) unsigned NOT NULL DEFAULT 5,
  `created` datetime NOT NULL,
  `removed` datetime DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uuid` (`uuid`),
  KEY `fk_extension_custom_action__extension_id` (`extension_id`),
  CONSTRAINT `fk_extension_custom_action__extension_id` FOREIGN KEY (`extension_id`) REFERENCES `extension` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE IF NOT EXISTS `cloud`.`extension_custom_action_details` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `extension_custom_action_id` bigint(20) unsigned NOT NULL,
  `name` varchar(255) NOT NULL,
  `value` text NOT NULL,
  `display` tinyint(1) NOT NULL DEFAULT 1,
  PRIMARY KEY (`id`),
  KEY `fk_custom_action_details__action_id` (`extension_custom_action_id`),
  CONSTRAINT `fk_custom_action_details__action_id` FOREIGN KEY (`extension_custom_action_id`) REFERENCES `extension_custom_action` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.service_offering', 'vgpu_profile_id', 'bigint(20) unsigned DEFAULT NULL');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.service_offering', 'gpu_count', 'int(10) unsigned DEFAULT NULL');

CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.service_offering', 'gpu_display', 'tinyint(1) DEFAULT 0');

ALTER TABLE `cloud`.`service_offering` ADD CONSTRAINT `fk_service_offering__vgpu_profile_id` FOREIGN KEY (`vgpu_profile_id`) REFERENCES `vgpu_profile` (`id`) ON DELETE CASCADE;

-- if `cloud`.`counter`
CALL `cloud`.`IDEMPOTENT_DROP_UNIQUE_KEY`('cloud.counter', 'uc_counter__provider__source__value');

-- if `cloud`.`counter`
CALL `cloud`.`IDEMPOTENT_ADD_UNIQUE_KEY`('cloud.counter', 'uc_counter__provider__source__value__removed', '(`provider`, `source`, `value`, `removed`)');

CALL `cloud`.`INSERT_EXTENSION_IF_NOT_EXISTS`('Proxmox', 'Sample extension for Proxmox', 'Proxmox/proxmox.sh');

CALL `cloud`.`INSERT_EXTENSION_IF_NOT_EXISTS`('HyperV', 'Sample extension for Hyper-V', 'HyperV/hyperv.py');

DELETE FROM `cloud`.`configuration` WHERE `name` = 'consoleproxy.cmd.port';
