DROP PROCEDURE IF EXISTS `cloud`.`IDEMPOTENT_DROP_INDEX`;

CREATE PROCEDURE `cloud`.`IDEMPOTENT_DROP_INDEX` (IN in_index_name VARCHAR(200), IN in_table_name VARCHAR(200))
BEGIN
    -- 1091: there is no such index.
    DECLARE CONTINUE HANDLER FOR 1091 BEGIN END;
    SET @statement = CONCAT('DROP INDEX `', in_index_name, '` ON ', in_table_name);
    PREPARE prepared FROM @statement;
    EXECUTE prepared;
    DEALLOCATE PREPARE prepared;
END;
