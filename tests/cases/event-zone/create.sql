-- Events made in several time zones and modes.
SET time_zone = '+05:30'; SET sql_mode = 'ANSI_QUOTES';
CREATE EVENT ez_one ON SCHEDULE EVERY 3 HOUR STARTS '2030-06-01 10:00:00' DISABLE DO SET @x = 'a';
SET time_zone = '-08:00'; CREATE EVENT ez_two ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2030-06-01 10:00:00' DISABLE DO SET @y = 1;
