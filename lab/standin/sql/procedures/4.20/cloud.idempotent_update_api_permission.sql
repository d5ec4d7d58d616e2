DROP PROCEDURE IF EXISTS `cloud`.`IDEMPOTENT_UPDATE_API_PERMISSION`;

CREATE PROCEDURE `cloud`.`IDEMPOTENT_UPDATE_API_PERMISSION` (IN in_role VARCHAR(255), IN in_rule VARCHAR(255), IN in_permission VARCHAR(255))
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM `cloud`.`role_permissions` AS `permission`
          JOIN `cloud`.`roles` AS `role` ON `role`.`id` = `permission`.`role_id`
         WHERE `role`.`name` = in_role AND `permission`.`rule` = in_rule)
    THEN
        INSERT INTO `cloud`.`role_permissions` (`uuid`, `role_id`, `rule`, `permission`, `sort_order`)
        SELECT UUID(), `id`, in_rule, in_permission, 0
          FROM `cloud`.`roles` WHERE `name` = in_role AND `is_default` = 1;
    END IF;
END;
