-- A procedure and a function with parameters of every kind and several statements.
DELIMITER //
CREATE DEFINER=cloud@localhost PROCEDURE rt_add(IN a varchar(200), INOUT b decimal(10,2), OUT c int) COMMENT 'it''s "one"' BEGIN DECLARE CONTINUE HANDLER FOR 1060 BEGIN END; SET c = LENGTH(a); SET b = b + c; END//
CREATE DEFINER=cloud@'%' FUNCTION rt_twice(n int) RETURNS bigint unsigned DETERMINISTIC NO SQL RETURN n * 2//
CREATE FUNCTION rt_text(t varchar(20) CHARACTER SET latin1) RETURNS varchar(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DETERMINISTIC SQL SECURITY INVOKER RETURN CONCAT(t, 'ü;//')//
DELIMITER ;
