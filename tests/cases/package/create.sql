-- A package, MariaDB only: nothing that CloudStack has.
SET sql_mode = 'ORACLE';
DELIMITER //
CREATE PACKAGE pk_one AS FUNCTION f(a int) RETURN int; END//
DELIMITER ;
