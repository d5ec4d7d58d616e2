-- What is left to tidy up once the tables are those of CloudStack 4.22.0.0.

UPDATE `cloud`.`vm_template` SET `for_cks` = 0 WHERE `for_cks` IS NULL;

UPDATE `cloud`.`network_offerings` SET `conserve_mode` = 1 WHERE `name` = 'DefaultIsolatedNetworkOfferingForVpcNetworks';
