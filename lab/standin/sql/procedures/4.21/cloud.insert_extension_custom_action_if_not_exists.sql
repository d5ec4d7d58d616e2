DROP PROCEDURE IF EXISTS `cloud`.`INSERT_EXTENSION_CUSTOM_ACTION_IF_NOT_EXISTS`;

CREATE PROCEDURE `cloud`.`INSERT_EXTENSION_CUSTOM_ACTION_IF_NOT_EXISTS` (IN in_extension VARCHAR(255), IN in_name VARCHAR(255), IN in_description VARCHAR(4096), IN in_resource VARCHAR(255), IN in_roles INT UNSIGNED, IN in_timeout INT UNSIGNED)
BEGIN
    INSERT INTO `cloud`.`extension_custom_action`
        (`uuid`, `name`, `description`, `extension_id`, `resource_type`, `allowed_role_types`, `enabled`, `timeout`, `created`)
    SELECT UUID(), in_name, in_description, `id`, in_resource, in_roles, 1, in_timeout, UTC_TIMESTAMP()
      FROM `cloud`.`extension` AS `e`
     WHERE `e`.`name` = in_extension
       AND NOT EXISTS (SELECT 1 FROM `cloud`.`extension_custom_action` AS `a` WHERE `a`.`extension_id` = `e`.`id` AND `a`.`name` = in_name);
END;
