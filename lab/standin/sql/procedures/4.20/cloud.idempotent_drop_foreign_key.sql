DROP PROCEDURE IF EXISTS `cloud`.`IDEMPOTENT_DROP_FOREIGN_KEY`;

CREATE PROCEDURE `cloud`.`IDEMPOTENT_DROP_FOREIGN_KEY` (IN in_table_name VARCHAR(200), IN in_foreign_key_name VARCHAR(200))
BEGIN
    -- 1091, 1025: there is no such key.
    DECLARE CONTINUE HANDLER FOR 1091 BEGIN END;
    DECLARE CONTINUE HANDLER FOR 1025 BEGIN END;
    SET @statement = CONCAT('ALTER TABLE ', in_table_name, ' DROP FOREIGN KEY `', in_foreign_key_name, '`');
    PREPARE prepared FROM @statement;
    EXECUTE prepared;
    DEALLOCATE PREPARE prepared;
END;
