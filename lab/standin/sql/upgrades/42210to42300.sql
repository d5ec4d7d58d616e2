-- What changes in the tables from CloudStack 4.22.1.0 to 4.23.0.0: API keys and schedules move to tables of their own.
-- A line `-- if TABLE` says that the next statement is only run where the database has that table.

CREATE TABLE `cloud`.`api_keypair` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(40) NOT NULL,
  `name` varchar(255) NOT NULL,
  `user_id` bigint(20) unsigned NOT NULL,
  `account_id` bigint(20) unsigned NOT NULL,
  `domain_id` bigint(20) unsigned NOT NULL,
  `start_date` datetime DEFAULT NULL,
  `end_date` datetime DEFAULT NULL,
  `description` varchar(255) DEFAULT NULL,
  `api_key` varchar(255) NOT NULL,
  `secret_key` varchar(255) NOT NULL,
  `created` datetime NOT NULL,
  `removed` datetime DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_api_keypair__uuid` (`uuid`),
  KEY `i_api_keypair__api_key` (`api_key`),
  CONSTRAINT `fk_api_keypair__user_id` FOREIGN KEY (`user_id`) REFERENCES `user` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE `cloud`.`api_keypair_permissions` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(40) NOT NULL,
  `api_keypair_id` bigint(20) unsigned NOT NULL,
  `rule` varchar(255) NOT NULL,
  `permission` varchar(255) NOT NULL,
  `description` varchar(255) DEFAULT NULL,
  `sort_order` bigint(20) unsigned NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_api_keypair_permissions__uuid` (`uuid`),
  CONSTRAINT `fk_api_keypair_permissions__api_keypair_id` FOREIGN KEY (`api_keypair_id`) REFERENCES `api_keypair` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

INSERT INTO `cloud`.`api_keypair` (`uuid`, `name`, `user_id`, `account_id`, `domain_id`, `api_key`, `secret_key`, `created`)
  SELECT UUID(), 'Active key pair', `user`.`id`, `account`.`id`, `account`.`domain_id`, `user`.`api_key`, `user`.`secret_key`, NOW()
  FROM `cloud`.`user` AS `user` JOIN `cloud`.`account` AS `account` ON `account`.`id` = `user`.`account_id`
  WHERE `user`.`api_key` IS NOT NULL AND `user`.`secret_key` IS NOT NULL;

ALTER TABLE `cloud`.`user` DROP COLUMN `api_key`, DROP COLUMN `secret_key`;

-- if `cloud`.`vm_schedule`
ALTER TABLE `cloud`.`vm_schedule` DROP FOREIGN KEY `fk_vm_schedule__vm_id`;

-- if `cloud`.`vm_schedule`
ALTER TABLE `cloud`.`vm_schedule` CHANGE COLUMN `vm_id` `resource_id` bigint(20) unsigned NOT NULL, ADD COLUMN `resource_type` varchar(64) NOT NULL DEFAULT 'VirtualMachine';

-- if `cloud`.`vm_scheduled_job`
ALTER TABLE `cloud`.`vm_scheduled_job` DROP FOREIGN KEY `fk_vm_scheduled_job__vm_id`, DROP FOREIGN KEY `fk_vm_scheduled_job__vm_schedule_id`;

-- if `cloud`.`vm_scheduled_job`
ALTER TABLE `cloud`.`vm_scheduled_job` CHANGE COLUMN `vm_id` `resource_id` bigint(20) unsigned NOT NULL;

-- if `cloud`.`vm_schedule`
RENAME TABLE `cloud`.`vm_schedule` TO `cloud`.`resource_schedule`;

-- if `cloud`.`vm_scheduled_job`
RENAME TABLE `cloud`.`vm_scheduled_job` TO `cloud`.`resource_scheduled_job`;

UPDATE `cloud`.`configuration` SET `name` = 'scheduler.jobs.expire.interval' WHERE `name` = 'vmscheduler.jobs.expire.interval';

UPDATE `cloud`.`configuration` SET `value` = 'random' WHERE `name` = 'vm.allocation.algorithm' AND `value` = 'userconcentratedpod_random';

UPDATE `cloud`.`configuration` SET `value` = 'firstfit' WHERE `name` = 'vm.allocation.algorithm' AND `value` = 'userconcentratedpod_firstfit';
