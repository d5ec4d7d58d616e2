DROP PROCEDURE IF EXISTS `cloud`.`UPDATE_CATEGORY_FOR_GUEST_OSES`;

CREATE PROCEDURE `cloud`.`UPDATE_CATEGORY_FOR_GUEST_OSES` (IN in_category VARCHAR(255), IN in_pattern VARCHAR(255))
BEGIN
    UPDATE `cloud`.`guest_os` AS `os`
      JOIN `cloud`.`guest_os_category` AS `category` ON `category`.`name` = in_category
       SET `os`.`category_id` = `category`.`id`
     WHERE `os`.`display_name` LIKE in_pattern;
END;
