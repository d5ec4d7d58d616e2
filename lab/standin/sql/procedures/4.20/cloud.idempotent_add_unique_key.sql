DROP PROCEDURE IF EXISTS `cloud`.`IDEMPOTENT_ADD_UNIQUE_KEY`;

CREATE PROCEDURE `cloud`.`IDEMPOTENT_ADD_UNIQUE_KEY` (IN in_table_name VARCHAR(200), IN in_key_name VARCHAR(200), IN in_columns VARCHAR(1000))
BEGIN
    -- 1061: there is a key of this name.
    DECLARE CONTINUE HANDLER FOR 1061 BEGIN END;
    SET @statement = CONCAT('ALTER TABLE ', in_table_name, ' ADD UNIQUE KEY `', in_key_name, '` ', in_columns);
    PREPARE prepared FROM @statement;
    EXECUTE prepared;
    DEALLOCATE PREPARE prepared;
END;
