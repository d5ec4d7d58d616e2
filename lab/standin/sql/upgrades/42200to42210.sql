-- What changes in the tables from CloudStack 4.22.0.0 to 4.22.1.0.
-- A line `-- if TABLE` says that the next statement is only run where the database has that table.

ALTER TABLE `cloud`.`usage_event` ADD COLUMN `vm_id` bigint(20) unsigned DEFAULT NULL;

ALTER TABLE `cloud_usage`.`usage_event` ADD COLUMN `vm_id` bigint(20) unsigned DEFAULT NULL;

CALL `cloud_usage`.`IDEMPOTENT_ADD_COLUMN`('cloud_usage.usage_volume', 'vm_id', 'bigint(20) unsigned DEFAULT NULL');

CALL `cloud`.`IDEMPOTENT_DROP_COLUMN`('cloud.network_offerings', 'for_tungsten');

CALL `cloud`.`IDEMPOTENT_DROP_COLUMN`('cloud.network_offerings', 'for_nsx');

CALL `cloud`.`IDEMPOTENT_DROP_COLUMN`('cloud.vpc_offerings', 'for_nsx');
