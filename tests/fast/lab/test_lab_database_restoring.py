"""A dump as an older program writes it."""

from __future__ import annotations

from lab.database.restoring import as_older_program

DUMP = b"""\
CREATE DATABASE /*!32312 IF NOT EXISTS*/ `cloud` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci */;
INSERT INTO `t` VALUES (1,' 1 AS `x`');
/*!50001 DROP VIEW IF EXISTS `v`*/;
/*!50001 CREATE VIEW `v` AS SELECT
 1 AS `id`,
  NULL AS `a``b`,
 1 AS `last`*/;
/*!50001 VIEW `v` AS select 1 AS `id` */;
"""
OLDER = b"""\
CREATE DATABASE /*!32312 IF NOT EXISTS*/ `cloud` /*!40100 DEFAULT CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci */;
INSERT INTO `t` VALUES (1,' 1 AS `x`');
/*!50001 DROP TABLE IF EXISTS `v`*/;
/*!50001 DROP VIEW IF EXISTS `v`*/;
/*!50001 CREATE TABLE `v` (
  `id` tinyint NOT NULL,
  `a``b` tinyint NOT NULL,
  `last` tinyint NOT NULL
) ENGINE=MyISAM */;
/*!50001 VIEW `v` AS select 1 AS `id` */;
ALTER DATABASE `cloud` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
"""


def test_tables_stand_in_for_views_and_the_default_collation_comes_last() -> None:
    assert b"".join(as_older_program(DUMP.splitlines(keepends=True))) == OLDER
