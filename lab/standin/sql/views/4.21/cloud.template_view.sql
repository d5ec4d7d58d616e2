DROP VIEW IF EXISTS `cloud`.`template_view`;

CREATE VIEW `cloud`.`template_view` AS
SELECT
  `vm_template`.`id` AS `id`,
  `vm_template`.`uuid` AS `uuid`,
  `vm_template`.`unique_name` AS `unique_name`,
  `vm_template`.`name` AS `name`,
  `vm_template`.`public` AS `public`,
  `vm_template`.`featured` AS `featured`,
  `vm_template`.`type` AS `type`,
  `vm_template`.`hvm` AS `hvm`,
  `vm_template`.`bits` AS `bits`,
  `vm_template`.`url` AS `url`,
  `vm_template`.`format` AS `format`,
  `vm_template`.`created` AS `created`,
  `vm_template`.`checksum` AS `checksum`,
  `vm_template`.`display_text` AS `display_text`,
  `vm_template`.`enable_password` AS `enable_password`,
  `vm_template`.`guest_os_id` AS `guest_os_id`,
  `vm_template`.`bootable` AS `bootable`,
  `vm_template`.`prepopulate` AS `prepopulate`,
  `vm_template`.`cross_zones` AS `cross_zones`,
  `vm_template`.`hypervisor_type` AS `hypervisor_type`,
  `vm_template`.`extractable` AS `extractable`,
  `vm_template`.`removed` AS `removed`,
  `vm_template`.`arch` AS `arch`,
  `vm_template`.`direct_download` AS `direct_download`,
  `vm_template`.`size` AS `size`,
  `account`.`id` AS `account_id`,
  `account`.`uuid` AS `account_uuid`,
  `account`.`account_name` AS `account_name`,
  `account`.`type` AS `account_type`,
  `domain`.`id` AS `domain_id`,
  `domain`.`uuid` AS `domain_uuid`,
  `domain`.`name` AS `domain_name`,
  `domain`.`path` AS `domain_path`,
  `template_store_ref`.`store_id` AS `store_id`,
  `template_store_ref`.`store_role` AS `store_scope`,
  `template_store_ref`.`state` AS `state`,
  `template_store_ref`.`download_state` AS `download_state`,
  `template_store_ref`.`download_pct` AS `download_pct`,
  `template_store_ref`.`error_str` AS `error_str`,
  `data_center`.`id` AS `data_center_id`,
  `data_center`.`uuid` AS `data_center_uuid`,
  `data_center`.`name` AS `data_center_name`,
  `vm_template`.`for_cks` AS `for_cks`
FROM `cloud`.`vm_template` AS `vm_template`
  JOIN `cloud`.`account` AS `account` ON `account`.`id` = `vm_template`.`account_id`
  JOIN `cloud`.`domain` AS `domain` ON `domain`.`id` = `account`.`domain_id`
  LEFT JOIN `cloud`.`template_store_ref` AS `template_store_ref` ON `template_store_ref`.`template_id` = `vm_template`.`id` AND `template_store_ref`.`store_role` = 'Image' AND `template_store_ref`.`destroyed` = 0
  LEFT JOIN `cloud`.`template_zone_ref` AS `template_zone_ref` ON `template_zone_ref`.`template_id` = `vm_template`.`id` AND `template_zone_ref`.`removed` IS NULL
  LEFT JOIN `cloud`.`data_center` AS `data_center` ON `data_center`.`id` = `template_zone_ref`.`zone_id`;
