-- An event that was done once and is kept.
CREATE EVENT ep_once ON SCHEDULE AT '2020-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE DO SET @x = 1;
