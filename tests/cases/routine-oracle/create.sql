-- A procedure in Oracle's language, MariaDB only.
SET sql_mode = 'ORACLE';
DELIMITER //
CREATE PROCEDURE ro_go(a IN int, b OUT varchar2) AS n int; BEGIN n := a + 1; b := 'x' || n; END//
DELIMITER ;
