DROP VIEW IF EXISTS `cloud`.`image_store_view`;

CREATE VIEW `cloud`.`image_store_view` AS
SELECT
  `image_store`.`id` AS `id`,
  `image_store`.`uuid` AS `uuid`,
  `image_store`.`name` AS `name`,
  `image_store`.`image_provider_name` AS `image_provider_name`,
  `image_store`.`protocol` AS `protocol`,
  `image_store`.`url` AS `url`,
  `image_store`.`scope` AS `scope`,
  `image_store`.`role` AS `role`,
  `image_store`.`readonly` AS `readonly`,
  `image_store`.`removed` AS `removed`,
  `data_center`.`id` AS `data_center_id`,
  `data_center`.`uuid` AS `data_center_uuid`,
  `data_center`.`name` AS `data_center_name`
FROM `cloud`.`image_store` AS `image_store`
  LEFT JOIN `cloud`.`data_center` AS `data_center` ON `data_center`.`id` = `image_store`.`data_center_id`;
