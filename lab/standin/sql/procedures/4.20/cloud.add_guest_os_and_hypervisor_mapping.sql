DROP PROCEDURE IF EXISTS `cloud`.`ADD_GUEST_OS_AND_HYPERVISOR_MAPPING`;

CREATE PROCEDURE `cloud`.`ADD_GUEST_OS_AND_HYPERVISOR_MAPPING` (IN in_category_id BIGINT, IN in_display_name VARCHAR(255), IN in_hypervisor VARCHAR(32), IN in_hypervisor_version VARCHAR(32), IN in_os_name VARCHAR(255))
BEGIN
    IF NOT EXISTS (SELECT 1 FROM `cloud`.`guest_os` WHERE `display_name` = in_display_name) THEN
        INSERT INTO `cloud`.`guest_os` (`uuid`, `category_id`, `display_name`, `created`)
        VALUES (UUID(), in_category_id, in_display_name, UTC_TIMESTAMP());
    END IF;
    CALL `cloud`.`IDEMPOTENT_INSERT_GUESTOS_HYPERVISOR_MAPPING`(
        in_hypervisor, in_hypervisor_version, in_display_name, in_os_name);
END;
