USE `cloud_usage`;
CREATE TABLE `usage_job` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `host` varchar(255),
  `pid` int(5),
  `job_type` int(1),
  `scheduled` int(1),
  `start_millis` bigint unsigned NOT NULL DEFAULT 0,
  `end_millis` bigint unsigned NOT NULL DEFAULT 0,
  `exec_time` bigint unsigned NOT NULL DEFAULT 0,
  `start_date` datetime,
  `end_date` datetime,
  `success` int(1),
  `heartbeat` datetime NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;
