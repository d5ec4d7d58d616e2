DROP VIEW IF EXISTS `cloud`.`mshost_peer_view`;

CREATE VIEW `cloud`.`mshost_peer_view` AS
SELECT
  `mshost_peer`.`id` AS `id`,
  `mshost_peer`.`peer_state` AS `peer_state`,
  `mshost_peer`.`last_update` AS `last_update`,
  `mshost_peer`.`owner_mshost` AS `owner_mshost`,
  `mshost_peer`.`peer_mshost` AS `peer_mshost`,
  `mshost_peer`.`peer_runid` AS `peer_runid`,
  `owner`.`uuid` AS `owner_mshost_uuid`,
  `owner`.`name` AS `owner_mshost_name`,
  `owner`.`state` AS `owner_mshost_state`,
  `peer`.`uuid` AS `peer_mshost_uuid`,
  `peer`.`name` AS `peer_mshost_name`,
  `peer`.`msid` AS `peer_mshost_msid`,
  `peer`.`state` AS `peer_mshost_state`,
  `peer`.`service_ip` AS `peer_mshost_service_ip`,
  `peer`.`service_port` AS `peer_mshost_service_port`,
  `peer`.`removed` AS `peer_mshost_removed`
FROM `cloud`.`mshost_peer` AS `mshost_peer`
  LEFT JOIN `cloud`.`mshost` AS `owner` ON `owner`.`id` = `mshost_peer`.`owner_mshost`
  LEFT JOIN `cloud`.`mshost` AS `peer` ON `peer`.`id` = `mshost_peer`.`peer_mshost`;
