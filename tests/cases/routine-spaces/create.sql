-- Bodies with comments, odd spacing and other languages in them.
DELIMITER //
CREATE PROCEDURE rs_go()
  -- a comment with ' and ; and `
BEGIN
  /* another
     one */ # and a third
  SELECT   'tab	',  "quote", 'Привет 😀'   ;


END//
DELIMITER ;
