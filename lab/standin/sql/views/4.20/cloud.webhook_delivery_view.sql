DROP VIEW IF EXISTS `cloud`.`webhook_delivery_view`;

CREATE VIEW `cloud`.`webhook_delivery_view` AS
SELECT
  `webhook_delivery`.`id` AS `id`,
  `webhook_delivery`.`uuid` AS `uuid`,
  `webhook_delivery`.`headers` AS `headers`,
  `webhook_delivery`.`payload` AS `payload`,
  `webhook_delivery`.`success` AS `success`,
  `webhook_delivery`.`response` AS `response`,
  `webhook_delivery`.`start_time` AS `start_time`,
  `webhook_delivery`.`end_time` AS `end_time`,
  `webhook`.`id` AS `webhook_id`,
  `webhook`.`uuid` AS `webhook_uuid`,
  `webhook`.`name` AS `webhook_name`
FROM `cloud`.`webhook_delivery` AS `webhook_delivery`
  LEFT JOIN `cloud`.`webhook` AS `webhook` ON `webhook`.`id` = `webhook_delivery`.`webhook_id`;
