DROP VIEW IF EXISTS `cloud`.`async_job_view`;

CREATE VIEW `cloud`.`async_job_view` AS
SELECT
  `async_job`.`id` AS `id`,
  `async_job`.`uuid` AS `uuid`,
  `async_job`.`user_id` AS `user_id`,
  `async_job`.`account_id` AS `account_id`,
  `async_job`.`instance_type` AS `instance_type`,
  `async_job`.`instance_id` AS `instance_id`,
  `async_job`.`job_cmd` AS `job_cmd`,
  `async_job`.`job_status` AS `job_status`,
  `async_job`.`job_process_status` AS `job_process_status`,
  `async_job`.`job_result_code` AS `job_result_code`,
  `async_job`.`job_result` AS `job_result`,
  `async_job`.`created` AS `created`,
  `async_job`.`removed` AS `removed`,
  `async_job`.`job_executing_msid` AS `job_executing_msid`,
  `account`.`account_name` AS `account_name`,
  `domain`.`uuid` AS `domain_uuid`
FROM `cloud`.`async_job` AS `async_job`
  LEFT JOIN `cloud`.`account` AS `account` ON `account`.`id` = `async_job`.`account_id`
  LEFT JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `account`.`domain_id`;
