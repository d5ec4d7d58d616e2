DROP PROCEDURE IF EXISTS `cloud_usage`.`IDEMPOTENT_ADD_COLUMN`;

CREATE PROCEDURE `cloud_usage`.`IDEMPOTENT_ADD_COLUMN` (IN in_table_name VARCHAR(200), IN in_column_name VARCHAR(200), IN in_column_definition VARCHAR(1000))
BEGIN
    -- 1060: the column is there already.
    DECLARE CONTINUE HANDLER FOR 1060 BEGIN END;
    SET @statement = CONCAT('ALTER TABLE ', in_table_name, ' ADD COLUMN `', in_column_name, '` ', in_column_definition);
    PREPARE prepared FROM @statement;
    EXECUTE prepared;
    DEALLOCATE PREPARE prepared;
END;
