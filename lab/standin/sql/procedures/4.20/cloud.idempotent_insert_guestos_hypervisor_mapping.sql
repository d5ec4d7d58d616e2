DROP PROCEDURE IF EXISTS `cloud`.`IDEMPOTENT_INSERT_GUESTOS_HYPERVISOR_MAPPING`;

CREATE PROCEDURE `cloud`.`IDEMPOTENT_INSERT_GUESTOS_HYPERVISOR_MAPPING` (IN in_hypervisor VARCHAR(32), IN in_hypervisor_version VARCHAR(32), IN in_display_name VARCHAR(255), IN in_os_name VARCHAR(255))
BEGIN
    INSERT INTO `cloud`.`guest_os_hypervisor`
        (`uuid`, `hypervisor_type`, `hypervisor_version`, `guest_os_name`, `guest_os_id`, `created`)
    SELECT UUID(), in_hypervisor, in_hypervisor_version, in_os_name, `os`.`id`, UTC_TIMESTAMP()
      FROM `cloud`.`guest_os` AS `os`
     WHERE `os`.`display_name` = in_display_name
       AND NOT EXISTS (
           SELECT 1 FROM `cloud`.`guest_os_hypervisor` AS `mapping`
            WHERE `mapping`.`guest_os_id` = `os`.`id` AND `mapping`.`hypervisor_type` = in_hypervisor
              AND `mapping`.`hypervisor_version` = in_hypervisor_version);
END;
