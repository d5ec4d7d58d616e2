DROP PROCEDURE IF EXISTS `cloud`.`INSERT_CATEGORY_IF_NOT_EXIST`;

CREATE PROCEDURE `cloud`.`INSERT_CATEGORY_IF_NOT_EXIST` (IN in_name VARCHAR(255))
BEGIN
    IF NOT EXISTS (SELECT 1 FROM `cloud`.`guest_os_category` WHERE `name` = in_name) THEN
        INSERT INTO `cloud`.`guest_os_category` (`name`, `uuid`) VALUES (in_name, UUID());
    END IF;
END;
