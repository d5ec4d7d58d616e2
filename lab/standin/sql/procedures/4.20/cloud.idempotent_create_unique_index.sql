DROP PROCEDURE IF EXISTS `cloud`.`IDEMPOTENT_CREATE_UNIQUE_INDEX`;

CREATE PROCEDURE `cloud`.`IDEMPOTENT_CREATE_UNIQUE_INDEX` (IN in_index_name VARCHAR(200), IN in_table_name VARCHAR(200), IN in_columns VARCHAR(1000))
BEGIN
    -- 1061: there is an index of this name.
    DECLARE CONTINUE HANDLER FOR 1061 BEGIN END;
    SET @statement = CONCAT('CREATE UNIQUE INDEX `', in_index_name, '` ON ', in_table_name, ' ', in_columns);
    PREPARE prepared FROM @statement;
    EXECUTE prepared;
    DEALLOCATE PREPARE prepared;
END;
