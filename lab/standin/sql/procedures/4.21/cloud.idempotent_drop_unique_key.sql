DROP PROCEDURE IF EXISTS `cloud`.`IDEMPOTENT_DROP_UNIQUE_KEY`;

CREATE PROCEDURE `cloud`.`IDEMPOTENT_DROP_UNIQUE_KEY` (IN in_table_name VARCHAR(200), IN in_key_name VARCHAR(200))
BEGIN
    -- 1091: there is no such key.
    DECLARE CONTINUE HANDLER FOR 1091 BEGIN END;
    SET @statement = CONCAT('ALTER TABLE ', in_table_name, ' DROP INDEX `', in_key_name, '`');
    PREPARE prepared FROM @statement;
    EXECUTE prepared;
    DEALLOCATE PREPARE prepared;
END;
