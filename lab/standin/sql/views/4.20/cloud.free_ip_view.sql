DROP VIEW IF EXISTS `cloud`.`free_ip_view`;

CREATE VIEW `cloud`.`free_ip_view` AS
SELECT
  COUNT(`user_ip_address`.`id`) AS `free_ip`
FROM `cloud`.`user_ip_address` AS `user_ip_address`
  JOIN `cloud`.`vlan` AS `vlan` ON `vlan`.`id` = `user_ip_address`.`vlan_db_id` AND `vlan`.`vlan_type` = 'VirtualNetwork'
WHERE `user_ip_address`.`state` = 'Free';
