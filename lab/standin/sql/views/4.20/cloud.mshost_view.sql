DROP VIEW IF EXISTS `cloud`.`mshost_view`;

CREATE VIEW `cloud`.`mshost_view` AS
SELECT
  `mshost`.`id` AS `id`,
  `mshost`.`msid` AS `msid`,
  `mshost`.`runid` AS `runid`,
  `mshost`.`name` AS `name`,
  `mshost`.`uuid` AS `uuid`,
  `mshost`.`state` AS `state`,
  `mshost`.`version` AS `version`,
  `mshost`.`service_ip` AS `service_ip`,
  `mshost`.`service_port` AS `service_port`,
  `mshost`.`last_update` AS `last_update`,
  `mshost`.`removed` AS `removed`,
  `mshost`.`alert_count` AS `alert_count`,
  `mshost_status`.`last_jvm_start` AS `last_jvm_start`,
  `mshost_status`.`last_jvm_stop` AS `last_jvm_stop`,
  `mshost_status`.`last_system_boot` AS `last_system_boot`,
  `mshost_status`.`os_distribution` AS `os_distribution`,
  `mshost_status`.`java_name` AS `java_name`,
  `mshost_status`.`java_version` AS `java_version`
FROM `cloud`.`mshost` AS `mshost`
  LEFT JOIN `cloud`.`mshost_status` AS `mshost_status` ON `mshost_status`.`ms_id` = `mshost`.`uuid`;
