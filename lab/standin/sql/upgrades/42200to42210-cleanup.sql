-- What is left to tidy up once the tables are those of CloudStack 4.22.1.0.

UPDATE `cloud`.`host` SET `last_mgmt_server_id` = NULL WHERE `removed` IS NOT NULL;
