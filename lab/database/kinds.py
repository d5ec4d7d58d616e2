"""An operator's own tables besides CloudStack's: columns, keys, engines and programs of kinds that a stock `cloud` lacks.

Sites do keep such things in the database, and a copy that damages them damages the site. They are not part of
CloudStack's schema, so a plan has them only when it asks (`site_tables`). The SQL is taken by MariaDB 10.11 and MySQL 8
and later alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.database.content.world import World
from lab.database.rows import literal, statements

_ROWS = 400
_TABLES = """\
CREATE TABLE `site_inventory` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `flags` bit(12) NOT NULL DEFAULT b'0',
  `digest` binary(16) NOT NULL,
  `address` varbinary(16) DEFAULT NULL,
  `label` varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL DEFAULT '',
  `code` char(8) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT NULL,
  `grade` enum('gold','silver','with ''quote''') DEFAULT 'silver',
  `tags` set('a','b','c') NOT NULL DEFAULT '',
  `ratio` float DEFAULT NULL,
  `exact` double DEFAULT NULL,
  `price` decimal(30,12) DEFAULT NULL,
  `counter` bigint unsigned NOT NULL DEFAULT 0,
  `small` tinyint DEFAULT NULL,
  `bought` date DEFAULT NULL,
  `built` year DEFAULT NULL,
  `lasts` time(3) DEFAULT NULL,
  `seen` datetime(6) DEFAULT NULL,
  `changed` timestamp(6) NULL DEFAULT NULL,
  `attributes` json DEFAULT NULL,
  `picture` longblob DEFAULT NULL,
  `note` mediumtext DEFAULT NULL,
  `total` decimal(31,12) GENERATED ALWAYS AS (`price` * 2) STORED,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uc_site_inventory__digest` (`digest`),
  KEY `i_site_inventory__label` (`label`(10)),
  KEY `i_site_inventory__seen` (`seen`,`grade`),
  CONSTRAINT `ck_site_inventory__small` CHECK (`small` is null or `small` between -100 and 100)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci COMMENT='Hardware of this site, kept by hand';
CREATE TABLE `site_log` (
  `written` datetime NOT NULL,
  `line` varchar(500) DEFAULT NULL,
  KEY `i_site_log__written` (`written`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `site_cache` (
  `name` varchar(64) NOT NULL,
  `value` varchar(200) DEFAULT NULL,
  PRIMARY KEY (`name`)
) ENGINE=MEMORY DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
CREATE TABLE `site_archive` (
  `a` varchar(20) NOT NULL,
  `b` int NOT NULL,
  `text` text,
  PRIMARY KEY (`b`,`a`)
) ENGINE=MyISAM DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
"""
_PROGRAMS = """\
DELIMITER ;;
CREATE DEFINER=`cloud`@`localhost` TRIGGER `site_inventory_seen` BEFORE UPDATE ON `site_inventory` FOR EACH ROW
BEGIN
  SET NEW.counter = OLD.counter + 1;
END;;
CREATE DEFINER=`cloud`@`localhost` FUNCTION `site_label`(host bigint unsigned)
  RETURNS varchar(80) CHARSET utf8mb4 COLLATE utf8mb4_general_ci DETERMINISTIC NO SQL
BEGIN
  RETURN CONCAT('host-', host, ' ✓');
END;;
CREATE DEFINER=`cloud`@`localhost` EVENT `site_sweep` ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00'
  ON COMPLETION PRESERVE DISABLE
  DO DELETE FROM `site_log` WHERE `written` < NOW() - INTERVAL 400 DAY;;
DELIMITER ;
"""
_LABELS = ("", " ", "plain", "trailing  ", "NULL", "null", "\\N", "O'Brien", 'say "hi"', "a\\b", "line\nbreak",
    "tab\tstop", "nul\0byte",
           "Größe", "naïve", "𝄞 clef", "👩‍🔧 at work", "ẞ", "ſ", "e\u0301", "é", "Ａ", "0", "0x41", "1e3",
           "-0")  # fmt: skip
# 16777216 is a FLOAT that mysqldump and mariadb-dump write as 16777200
_FLOATS = ("NULL", "0", "-0.0", "1.17549e-38", "3.40282e38", "0.1", "16777216", "-2.5")
_DOUBLES = (
    "NULL",
    "0.1",
    "1e308",
    "2.2250738585072014e-308",
    "0.30000000000000004",
    "-0.0",
    "9007199254740993",
    "1.7976931348623157e308",
)
_TIMES = (
    "'00:00:00'",
    "NULL",
    "'2026-03-29 02:30:00.000001'",
    "'0000-00-00 00:00:00'",
    "'1970-01-01 00:00:01'",
    "'9999-12-31 23:59:59.999999'",
)
_STAMPS = (
    "'2026-03-29 01:59:59.999999'",
    "NULL",
    "'2026-10-25 02:30:00'",
    "'1970-01-01 00:00:01'",
    "'2038-01-19 03:14:07'",
)
_DATES = ("'0000-00-00'", "'2024-02-29'", "NULL", "'1000-01-01'", "'9999-12-31'")


def site_tables(world: World) -> Iterator[str]:
    """SQL of the tables with their rows, then a trigger, a function and a (disabled) event. Raises nothing."""
    source = world.random("site")
    yield _TABLES
    yield from statements(
        "INSERT INTO `site_inventory` (`flags`,`digest`,`address`,`label`,`code`,`grade`,`tags`,`ratio`,`exact`,`price`,`counter`,`small`,"
        "`bought`,`built`,`lasts`,`seen`,`changed`,`attributes`,`picture`,`note`) VALUES\n",
        (_inventory(number, source.randbytes(16), source.randbytes(3 * (number % 50))) for number in range(_ROWS)),
    )
    same = [f"({literal(world.ago(number // 3))},{literal(_LABELS[number // 2 % len(_LABELS)])})" for number in range(240)]
    # without a primary key there may be rows that are equal in every column: their number matters
    yield from statements("INSERT INTO `site_log` VALUES\n", same)
    yield "INSERT INTO `site_cache` VALUES ('quota.currency','€'),('last.seen',NULL);\n"
    yield from statements(
        "INSERT INTO `site_archive` VALUES\n",
        (f"('{number % 7}',{number},{literal('x' * (number % 90))})" for number in range(200)),
    )
    yield "COMMIT;\n" + _PROGRAMS


def _inventory(number: int, digest: bytes, picture: bytes) -> str:
    pick = number.__mod__
    price = ("NULL", "0.000000000001", "-999999999999999999.999999999999", "12.340000000000")[pick(4)]
    counter = (0, 1, 9223372036854775808, 18446744073709551615)[pick(4)]
    attributes = ("NULL", "'{}'", '\'{"b": 1, "a": [1.10, null, "Ü 🚀"]}\'', "'null'")[pick(4)]
    values = (
        f"b'{number & 4095:b}'", "0x" + digest.hex(), "NULL" if pick(3) else "0x" + digest[:4].hex() + "00",
        literal(_LABELS[pick(len(_LABELS))]),
        ("NULL", "'AbC'", "'abc'", "''")[pick(4)], ("'gold'", "'with \\'quote\\''", "NULL")[pick(3)],
        ("''", "'a,c'", "'b'")[pick(3)],
        _FLOATS[pick(len(_FLOATS))], _DOUBLES[pick(len(_DOUBLES))], price, str(counter),
        ("NULL", "-100", "100", "0")[pick(4)],
        _DATES[pick(len(_DATES))], ("NULL", "1901", "2155", "2026")[pick(4)],
        ("'-838:59:59'", "'00:00:00.001'", "NULL")[pick(3)],
        _TIMES[pick(len(_TIMES))], _STAMPS[pick(len(_STAMPS))], attributes,
        "NULL" if number % 5 == 0 else literal(picture), literal("note\r\n" * pick(40)) if pick(2) else "NULL",
    )  # fmt: skip
    return "(" + ",".join(values) + ")"
