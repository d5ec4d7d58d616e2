DROP PROCEDURE IF EXISTS `cloud`.`IDEMPOTENT_ADD_FOREIGN_KEY`;

CREATE PROCEDURE `cloud`.`IDEMPOTENT_ADD_FOREIGN_KEY` (IN in_table_name VARCHAR(200), IN in_key_name VARCHAR(200), IN in_columns VARCHAR(500), IN in_references VARCHAR(500))
BEGIN
    -- 1005, 1061, 1826: there is a key of this name.
    DECLARE CONTINUE HANDLER FOR 1005 BEGIN END;
    DECLARE CONTINUE HANDLER FOR 1061 BEGIN END;
    DECLARE CONTINUE HANDLER FOR 1826 BEGIN END;
    SET @statement = CONCAT('ALTER TABLE ', in_table_name, ' ADD CONSTRAINT `', in_key_name, '` FOREIGN KEY ', in_columns, ' REFERENCES ', in_references);
    PREPARE prepared FROM @statement;
    EXECUTE prepared;
    DEALLOCATE PREPARE prepared;
END;
