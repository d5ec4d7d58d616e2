DROP PROCEDURE IF EXISTS `cloud_usage`.`IDEMPOTENT_CHANGE_COLUMN`;

CREATE PROCEDURE `cloud_usage`.`IDEMPOTENT_CHANGE_COLUMN` (IN in_table_name VARCHAR(200), IN in_old_column_name VARCHAR(200), IN in_new_column_name VARCHAR(200), IN in_column_definition VARCHAR(1000))
BEGIN
    -- 1054: the column has its new name already.
    DECLARE CONTINUE HANDLER FOR 1054 BEGIN END;
    SET @statement = CONCAT('ALTER TABLE ', in_table_name, ' CHANGE COLUMN `', in_old_column_name, '` `', in_new_column_name, '` ', in_column_definition);
    PREPARE prepared FROM @statement;
    EXECUTE prepared;
    DEALLOCATE PREPARE prepared;
END;
