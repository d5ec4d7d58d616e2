DROP PROCEDURE IF EXISTS `cloud`.`UPDATE_NEW_AND_DELETE_OLD_CATEGORY_FOR_GUEST_OS`;

CREATE PROCEDURE `cloud`.`UPDATE_NEW_AND_DELETE_OLD_CATEGORY_FOR_GUEST_OS` (IN in_new VARCHAR(255), IN in_old VARCHAR(255))
BEGIN
    UPDATE `cloud`.`guest_os` AS `os`
      JOIN `cloud`.`guest_os_category` AS `old` ON `old`.`id` = `os`.`category_id` AND `old`.`name` = in_old
      JOIN `cloud`.`guest_os_category` AS `new` ON `new`.`name` = in_new
       SET `os`.`category_id` = `new`.`id`;
    DELETE FROM `cloud`.`guest_os_category` WHERE `name` = in_old;
END;
