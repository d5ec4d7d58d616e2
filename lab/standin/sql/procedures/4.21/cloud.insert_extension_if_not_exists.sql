DROP PROCEDURE IF EXISTS `cloud`.`INSERT_EXTENSION_IF_NOT_EXISTS`;

CREATE PROCEDURE `cloud`.`INSERT_EXTENSION_IF_NOT_EXISTS` (IN in_name VARCHAR(255), IN in_description VARCHAR(255), IN in_path VARCHAR(255))
BEGIN
    IF NOT EXISTS (SELECT 1 FROM `cloud`.`extension` WHERE `name` = in_name) THEN
        INSERT INTO `cloud`.`extension`
            (`uuid`, `name`, `description`, `type`, `relative_path`, `path_ready`, `is_user_defined`, `state`, `created`)
        VALUES (UUID(), in_name, in_description, 'Orchestrator', in_path, 1, 0, 'Enabled', UTC_TIMESTAMP());
    END IF;
END;
