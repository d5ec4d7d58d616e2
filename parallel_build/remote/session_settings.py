"""The settings that change what a statement means or how long it may take, pinned for every session of this program.

A server's global values are its users' business: ANSI_QUOTES, NO_BACKSLASH_ESCAPES, a time zone, `sql_select_limit`, `autocommit = 0` or a
Russian `lc_messages` must change nothing of what is read, written or understood here. So every session begins with one SET of the table below:
PyMySQL's sessions, the copy's sessions on both servers, the servers' own client programs.

Reading needs no privilege. What only matters to a session that makes tables or writes rows is in `WRITING`, and may need an administrator.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

Version = tuple[int, int, int]

DAY = 86400  # seconds
# Strict, so that a value of ours that does not fit is an error, and none of the modes that change a statement's meaning.
STRICT = "'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'"
# Not strict, as the import of a dump: what the original holds, such as an empty enum, need not pass today's rules. That every stored value is
# the same, the comparison proves. 0 in AUTO_INCREMENT columns and dates that do not exist are taken as they are.
LENIENT = "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'"
PLAIN = "''"  # for sessions that only read

BOTH: dict[str, str] = {
    "sql_mode": STRICT,
    "time_zone": "'+00:00'",
    "autocommit": "1",
    "completion_type": "0",
    "sql_select_limit": "18446744073709551615",
    "sql_big_selects": "1",  # also switches max_join_size off
    "sql_safe_updates": "0",
    "sql_auto_is_null": "0",
    "sql_quote_show_create": "1",
    "div_precision_increment": "4",
    "default_week_format": "0",
    "max_sort_length": "1024",
    "group_concat_max_len": "67108864",
    "foreign_key_checks": "1",
    "unique_checks": "1",
    "lc_messages": "'en_US'",
    "lc_time_names": "'en_US'",
    "wait_timeout": str(DAY),
    "interactive_timeout": str(DAY),
    "net_read_timeout": str(DAY),
    "net_write_timeout": str(DAY),
    "lock_wait_timeout": "3600",
    "innodb_lock_wait_timeout": "600",
}
READING: dict[str, dict[str, str]] = {
    "mariadb": {
        "tx_isolation": "'REPEATABLE-READ'",
        "tx_read_only": "0",
        "old_mode": "'UTF8_IS_UTF8MB3'",
        "max_statement_time": "0",
        "idle_transaction_timeout": "0",
        "idle_readonly_transaction_timeout": "0",
        "idle_write_transaction_timeout": "0",
        "check_constraint_checks": "1",
        "alter_algorithm": "'DEFAULT'",
        "character_set_collations": "''",
    },
    "mysql": {
        "transaction_isolation": "'REPEATABLE-READ'",
        "transaction_read_only": "0",
        "max_execution_time": "0",
        "information_schema_stats_expiry": "0",  # sizes and counters of now, not of up to a day ago
        "show_create_table_verbosity": "0",
        "show_create_table_skip_secondary_engine": "0",
        "print_identified_with_as_hex": "0",
    },
}
WRITING: dict[str, dict[str, str]] = {
    "mariadb": {
        "character_set_filesystem": "binary",
        "auto_increment_increment": "1",
        "auto_increment_offset": "1",
        "explicit_defaults_for_timestamp": "1",
        "enforce_storage_engine": "NULL",
        "innodb_strict_mode": "0",
        "binlog_format": "ROW",
    },
    "mysql": {
        "character_set_filesystem": "binary",
        "auto_increment_increment": "1",
        "auto_increment_offset": "1",
        "explicit_defaults_for_timestamp": "1",
        "innodb_strict_mode": "0",
        "binlog_format": "ROW",
        "default_collation_for_utf8mb4": "utf8mb4_0900_ai_ci",
        "default_table_encryption": "0",
        "sql_require_primary_key": "0",
        "sql_generate_invisible_primary_key": "0",
        "restrict_fk_on_non_standard_key": "0",
    },
}
# First version that has a setting, or takes this value of it, where that is not every version that CloudStack ever ran on.
SINCE: dict[tuple[str, str], Version] = {
    ("mariadb", "old_mode"): (10, 6, 0),
    ("mariadb", "idle_transaction_timeout"): (10, 3, 0),
    ("mariadb", "idle_readonly_transaction_timeout"): (10, 3, 0),
    ("mariadb", "idle_write_transaction_timeout"): (10, 3, 0),
    ("mariadb", "alter_algorithm"): (10, 3, 7),
    ("mariadb", "character_set_collations"): (11, 2, 1),
    ("mariadb", "explicit_defaults_for_timestamp"): (10, 10, 2),
    ("mysql", "transaction_isolation"): (5, 7, 20),
    ("mysql", "transaction_read_only"): (5, 7, 20),
    ("mysql", "information_schema_stats_expiry"): (8, 0, 3),
    ("mysql", "show_create_table_verbosity"): (5, 7, 22),
    ("mysql", "show_create_table_skip_secondary_engine"): (8, 0, 18),
    ("mysql", "print_identified_with_as_hex"): (8, 0, 17),
    ("mysql", "default_collation_for_utf8mb4"): (8, 0, 11),
    ("mysql", "default_table_encryption"): (8, 0, 16),
    ("mysql", "sql_require_primary_key"): (8, 0, 13),
    ("mysql", "sql_generate_invisible_primary_key"): (8, 0, 30),
    ("mysql", "restrict_fk_on_non_standard_key"): (8, 4, 0),
}


def pinned(
    family: str,
    version: Version,
    changed: Mapping[str, str] | None = None,
    *,
    writing: bool = False,
    without: Collection[str] = (),
) -> str:
    """The one statement with which a session begins. The collation is one that every server has.

    Args:
        changed: settings with another value, or beyond those of the table.
        writing: the session makes tables or writes rows of the original's.
        without: settings that this server does not have.
    """
    settings = BOTH | READING[family] | (WRITING[family] if writing else {}) | dict(changed or {})
    parts = [
        f"SESSION {name} = {value}"
        for name, value in settings.items()
        if SINCE.get((family, name), (0, 0, 0)) <= version and name not in without
    ]
    return "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci, " + ", ".join(parts)


def parse_greeting(text: str) -> tuple[str, Version]:
    """Family and version from what a server greets a session with, such as `5.5.5-10.11.19-MariaDB-log` or `8.4.5`.

    Raises:
        ValueError: the text doesn't begin with three numbers.
    """
    match = re.match(r"^(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)", text)  # MariaDB puts 5.5.5- before its version for old replicas
    if not match:
        raise ValueError(f"{text!r} is not a database server's version")
    return "mariadb" if "mariadb" in text.lower() else "mysql", (int(match[1]), int(match[2]), int(match[3]))
