DROP VIEW IF EXISTS `cloud`.`account_netstats_view`;

CREATE VIEW `cloud`.`account_netstats_view` AS
SELECT
  `user_statistics`.`account_id` AS `account_id`,
  SUM(`user_statistics`.`net_bytes_received`) + SUM(`user_statistics`.`current_bytes_received`) AS `bytesReceived`,
  SUM(`user_statistics`.`net_bytes_sent`) + SUM(`user_statistics`.`current_bytes_sent`) AS `bytesSent`
FROM `cloud`.`user_statistics` AS `user_statistics`
GROUP BY `user_statistics`.`account_id`;
