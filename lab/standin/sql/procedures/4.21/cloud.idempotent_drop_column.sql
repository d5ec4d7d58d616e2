DROP PROCEDURE IF EXISTS `cloud`.`IDEMPOTENT_DROP_COLUMN`;

CREATE PROCEDURE `cloud`.`IDEMPOTENT_DROP_COLUMN` (IN in_table_name VARCHAR(200), IN in_column_name VARCHAR(200))
BEGIN
    -- 1091: there is no such column.
    DECLARE CONTINUE HANDLER FOR 1091 BEGIN END;
    SET @statement = CONCAT('ALTER TABLE ', in_table_name, ' DROP COLUMN `', in_column_name, '`');
    PREPARE prepared FROM @statement;
    EXECUTE prepared;
    DEALLOCATE PREPARE prepared;
END;
