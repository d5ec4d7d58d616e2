DROP VIEW IF EXISTS `cloud`.`domain_view`;

CREATE VIEW `cloud`.`domain_view` AS
SELECT
  `domain`.`id` AS `id`,
  `domain`.`parent` AS `parent`,
  `domain`.`name` AS `name`,
  `domain`.`uuid` AS `uuid`,
  `domain`.`owner` AS `owner`,
  `domain`.`path` AS `path`,
  `domain`.`level` AS `level`,
  `domain`.`child_count` AS `child_count`,
  `domain`.`next_child_seq` AS `next_child_seq`,
  `domain`.`created` AS `created`,
  `domain`.`removed` AS `removed`,
  `domain`.`state` AS `state`,
  `domain`.`network_domain` AS `network_domain`,
  `domain`.`type` AS `type`
FROM `cloud`.`domain` AS `domain`;
