-- What is left to tidy up once the tables are those of CloudStack 4.21.0.0.

DELETE FROM `cloud`.`configuration` WHERE `name` = 'consoleproxy.cmd.port';
