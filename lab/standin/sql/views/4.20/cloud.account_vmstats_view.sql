DROP VIEW IF EXISTS `cloud`.`account_vmstats_view`;

CREATE VIEW `cloud`.`account_vmstats_view` AS
SELECT
  `vm_instance`.`account_id` AS `account_id`,
  `vm_instance`.`state` AS `state`,
  COUNT(*) AS `vmcount`
FROM `cloud`.`vm_instance` AS `vm_instance`
WHERE `vm_instance`.`vm_type` = 'User' AND `vm_instance`.`removed` IS NULL
GROUP BY `vm_instance`.`account_id`, `vm_instance`.`state`;
