DROP PROCEDURE IF EXISTS `cloud`.`INSERT_EXTENSION_CUSTOM_ACTION_DETAILS_IF_NOT_EXISTS`;

CREATE PROCEDURE `cloud`.`INSERT_EXTENSION_CUSTOM_ACTION_DETAILS_IF_NOT_EXISTS` (IN in_extension VARCHAR(255), IN in_action VARCHAR(255), IN in_parameters TEXT)
BEGIN
    INSERT INTO `cloud`.`extension_custom_action_details` (`extension_custom_action_id`, `name`, `value`, `display`)
    SELECT `a`.`id`, 'parameters', in_parameters, 0
      FROM `cloud`.`extension_custom_action` AS `a`
      JOIN `cloud`.`extension` AS `e` ON `e`.`id` = `a`.`extension_id` AND `e`.`name` = in_extension
     WHERE `a`.`name` = in_action
       AND NOT EXISTS (SELECT 1 FROM `cloud`.`extension_custom_action_details` AS `d` WHERE `d`.`extension_custom_action_id` = `a`.`id`);
END;
