-- What changes in the tables from CloudStack 4.21.0.0 to 4.22.0.0.
-- A line `-- if TABLE` says that the next statement is only run where the database has that table.

ALTER TABLE `cloud`.`vm_template` ADD COLUMN `extension_id` bigint(20) unsigned DEFAULT NULL;

ALTER TABLE `cloud`.`domain_router` MODIFY COLUMN `scripts_version` varchar(128) DEFAULT NULL;

ALTER TABLE `cloud`.`disk_offering` MODIFY COLUMN `cache_mode` varchar(18) DEFAULT 'none';

-- if `cloud`.`snapshot_store_ref`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.snapshot_store_ref', 'kvm_checkpoint_path', 'varchar(255) DEFAULT NULL');

-- if `cloud`.`snapshot_store_ref`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.snapshot_store_ref', 'end_of_chain', 'int(1) unsigned DEFAULT NULL');

-- if `cloud`.`backup_repository`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.backup_repository', 'cross_zone_instance_creation', 'tinyint(1) DEFAULT NULL');

-- if `cloud`.`backups`
CREATE TABLE IF NOT EXISTS `cloud`.`backup_details` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `backup_id` bigint(20) unsigned NOT NULL,
  `name` varchar(255) NOT NULL,
  `value` text NOT NULL,
  `display` tinyint(1) NOT NULL DEFAULT 1,
  PRIMARY KEY (`id`),
  KEY `fk_backup_details__backup_id` (`backup_id`),
  CONSTRAINT `fk_backup_details__backup_id` FOREIGN KEY (`backup_id`) REFERENCES `backups` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

-- if `cloud`.`kubernetes_cluster`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.kubernetes_cluster', 'csi_enabled', 'tinyint(1) unsigned NOT NULL DEFAULT 0');

CREATE TABLE IF NOT EXISTS `cloud`.`import_vm_task` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(40) DEFAULT NULL,
  `zone_id` bigint(20) unsigned NOT NULL,
  `account_id` bigint(20) unsigned NOT NULL,
  `user_id` bigint(20) unsigned NOT NULL,
  `vm_id` bigint(20) unsigned DEFAULT NULL,
  `display_name` varchar(255) DEFAULT NULL,
  `vcenter` varchar(255) DEFAULT NULL,
  `datacenter` varchar(255) DEFAULT NULL,
  `source_vm_name` varchar(255) DEFAULT NULL,
  `convert_host_id` bigint(20) unsigned DEFAULT NULL,
  `import_host_id` bigint(20) unsigned DEFAULT NULL,
  `step` varchar(20) DEFAULT NULL,
  `state` varchar(20) DEFAULT NULL,
  `description` varchar(255) DEFAULT NULL,
  `duration` bigint(20) unsigned DEFAULT NULL,
  `created` datetime NOT NULL,
  `updated` datetime DEFAULT NULL,
  `removed` datetime DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `fk_import_vm_task__account_id` (`account_id`),
  KEY `fk_import_vm_task__user_id` (`user_id`),
  KEY `fk_import_vm_task__vm_id` (`vm_id`),
  KEY `fk_import_vm_task__convert_host_id` (`convert_host_id`),
  KEY `fk_import_vm_task__import_host_id` (`import_host_id`),
  KEY `i_import_vm_task__zone_id` (`zone_id`),
  CONSTRAINT `fk_import_vm_task__account_id` FOREIGN KEY (`account_id`) REFERENCES `account` (`id`) ON DELETE CASCADE,
  CONSTRAINT `fk_import_vm_task__convert_host_id` FOREIGN KEY (`convert_host_id`) REFERENCES `host` (`id`) ON DELETE CASCADE,
  CONSTRAINT `fk_import_vm_task__import_host_id` FOREIGN KEY (`import_host_id`) REFERENCES `host` (`id`) ON DELETE CASCADE,
  CONSTRAINT `fk_import_vm_task__user_id` FOREIGN KEY (`user_id`) REFERENCES `user` (`id`) ON DELETE CASCADE,
  CONSTRAINT `fk_import_vm_task__vm_id` FOREIGN KEY (`vm_id`) REFERENCES `vm_instance` (`id`) ON DELETE CASCADE,
  CONSTRAINT `fk_import_vm_task__zone_id` FOREIGN KEY (`zone_id`) REFERENCES `data_center` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

-- if `cloud`.`object_store`
ALTER TABLE `cloud`.`object_store` MODIFY COLUMN `total_size` bigint(20) unsigned DEFAULT NULL COMMENT 'total size in bytes';

-- if `cloud`.`object_store`
CALL `cloud`.`IDEMPOTENT_CHANGE_COLUMN`('cloud.object_store', 'used_bytes', 'used_size', 'bigint(20) unsigned DEFAULT NULL');

-- if `cloud`.`object_store`
CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.object_store', 'allocated_size', 'bigint(20) unsigned DEFAULT NULL');

CALL `cloud`.`INSERT_EXTENSION_IF_NOT_EXISTS`('MaaS', 'Sample extension for Canonical MaaS', 'MaaS/maas.py');

-- if `cloud`.`guest_os`
-- With an id of its own choice, as many of CloudStack's own scripts have it: a row that an operator has added under that id stops the upgrade.
INSERT INTO `cloud`.`guest_os` (`id`, `uuid`, `category_id`, `display_name`, `created`)
  SELECT 10001, UUID(), MIN(`id`), 'Rocky Linux 10', UTC_TIMESTAMP() FROM `cloud`.`guest_os_category`;
