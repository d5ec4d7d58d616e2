DROP PROCEDURE IF EXISTS `cloud`.`INSERT_EXTENSION_DETAIL_IF_NOT_EXISTS`;

CREATE PROCEDURE `cloud`.`INSERT_EXTENSION_DETAIL_IF_NOT_EXISTS` (IN in_extension VARCHAR(255), IN in_key VARCHAR(255), IN in_value TEXT, IN in_display TINYINT(1))
BEGIN
    INSERT INTO `cloud`.`extension_details` (`extension_id`, `name`, `value`, `display`)
    SELECT `id`, in_key, in_value, in_display FROM `cloud`.`extension` AS `e`
     WHERE `e`.`name` = in_extension
       AND NOT EXISTS (SELECT 1 FROM `cloud`.`extension_details` AS `d` WHERE `d`.`extension_id` = `e`.`id` AND `d`.`name` = in_key);
END;
