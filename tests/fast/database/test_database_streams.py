"""The texts of a copy: how values are read, taken in, cut into ranges; what is taken out of a CREATE TABLE and put back."""

from __future__ import annotations

import dataclasses

import pytest

from parallel_build.database.copy import statements as streams
from parallel_build.database.schema.definitions import Column, Table, split_create

CREATE = """CREATE TABLE `event` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `uuid` varchar(40) DEFAULT NULL COMMENT 'a KEY `in` a comment',
  `host_id` bigint(20) unsigned DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uc_event__uuid` (`uuid`),
  KEY `fk_event__host_id` (`host_id`),
  FULLTEXT KEY `words` (`uuid`),
  CONSTRAINT `fk_event__host_id` FOREIGN KEY (`host_id`) REFERENCES `host` (`id`) ON DELETE CASCADE,
  CONSTRAINT `ck` CHECK (`id` > 0)
) ENGINE=InnoDB AUTO_INCREMENT=413 DEFAULT CHARSET=utf8mb3"""


def column(
    name: str, kind: str, full: str = "", *, nullable: bool = True, generated: bool = False, character_set: str | None = None
) -> Column:
    return Column(name, kind, full or kind, nullable, generated, character_set)


def table(*columns: Column, create: str = CREATE, key: tuple[str, ...] = ("id",), data: int = 1 << 30) -> Table:
    return Table("cloud", "event", "InnoDB", create, columns, key, 1000, data, 0)


ID = column("id", "bigint", "bigint(20) unsigned", nullable=False)


def test_secondary_keys_are_taken_out_and_put_back_in_order() -> None:
    parts = split_create(table(ID))
    assert parts.keys == ("UNIQUE KEY `uc_event__uuid` (`uuid`)", "KEY `fk_event__host_id` (`host_id`)")
    assert parts.foreign_keys == ("CONSTRAINT `fk_event__host_id` FOREIGN KEY (`host_id`) REFERENCES `host` (`id`) ON DELETE CASCADE",)
    assert "uc_event__uuid" not in parts.create
    assert "PRIMARY KEY (`id`)" in parts.create
    assert "FULLTEXT KEY `words`" in parts.create
    assert "CONSTRAINT `ck` CHECK" in parts.create
    assert "COMMENT 'a KEY `in` a comment'" in parts.create
    assert ",\n)" not in parts.create


def test_a_key_that_the_counter_needs_stays() -> None:
    create = (
        "CREATE TABLE `t` (\n  `a` int NOT NULL AUTO_INCREMENT,\n  `b` int NOT NULL,\n  PRIMARY KEY (`b`),\n  KEY `a` (`a`),\n"
        "  KEY `c` (`b`)\n) ENGINE=InnoDB"
    )
    parts = split_create(table(column("a", "int"), column("b", "int"), create=create, key=("b",)))
    assert "KEY `a` (`a`)" in parts.create
    assert parts.keys == ("KEY `c` (`b`)",)


def test_a_small_table_is_made_whole() -> None:
    small = table(ID, data=1 << 20)
    assert streams.create_statement(small) == CREATE
    assert streams.finish_statements(small) == []


def test_keys_of_a_large_table_come_in_one_statement() -> None:
    statements = streams.finish_statements(table(ID))
    assert len(statements) == 2
    assert statements[0].count("ADD ") == 2


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bigint", "`x`"),
        ("inet6", "CAST(CAST(`x` AS CHAR) AS BINARY)"),
        ("float", "`x` * 1e0"),
        ("bit", "`x` + 0"),
        ("varchar", "CONCAT(0x22, REPLACE(REPLACE(CAST(`x` AS BINARY), 0x5c, 0x5c5c), 0x22, 0x5c22), 0x22)"),
    ],
)
def test_how_a_value_is_read(kind: str, expected: str) -> None:
    assert streams.read_expression(column("x", kind)) == expected


def constant(digits: str) -> str:
    return f"_binary 0x{digits} COLLATE `binary`"


def test_texts_in_utf8_are_enclosed_in_a_byte_that_they_can_not_hold() -> None:
    made = table(
        ID,
        column("x", "varchar", character_set="utf8mb3"),
        column("z", "varchar", character_set="utf8mb3", nullable=False),
        column("y", "enum", character_set="utf8mb4"),
    )
    x = f"IF(`x` IS NULL, _binary 0x4e554c4cfe, CONCAT({constant('ff')}, `x`, 0xfffe))"
    y = f"IF(`y` IS NULL, _binary 0x4e554c4cfd, CONCAT({constant('ff')}, `y`, 0xfffd))"
    start, z = f"{constant('fbffff')}, `id`, {constant('fe')}", f"{constant('ff')}, `z`, {constant('fffe')}"
    assert streams.select(made) == f"SELECT CONCAT({start}, {x}, {z}, {y}) FROM `cloud`.`event` FORCE INDEX (PRIMARY)"
    assert "FIELDS TERMINATED BY 0xfe" in streams.load(made, "/x")
    assert "LINES STARTING BY 0xfbffff TERMINATED BY 0xfd" in streams.load(made, "/x")
    assert "ENCLOSED BY 0xff ESCAPED BY ''" in streams.load(made, "/x")


@pytest.mark.parametrize("kind", [*sorted(streams.LONG_TYPES), "varchar", "blob"])
@pytest.mark.parametrize("nullable", [True, False])
def test_a_value_too_long_for_a_packet_makes_its_whole_row_null(kind: str, nullable: bool) -> None:
    made = table(ID, column("x", kind, character_set="utf8mb4", nullable=nullable), column("y", "int"))
    statement = streams.select(made)
    assert "CONCAT_WS" not in statement, "it passes over a NULL, and the fields after it would move"
    assert "IFNULL" not in statement, "a NULL that a function made is no NULL of the column"
    assert statement.count("IS NULL") == 1 + nullable


@pytest.mark.parametrize("kind", ["varchar", "text", "blob", "char", "enum", "varbinary"])
def test_no_null_is_told_from_what_a_function_made_of_a_value(kind: str) -> None:
    assert "IFNULL" not in streams.select(table(ID, column("x", kind, character_set="utf8mb4")))


def test_long_values_among_other_bytes_are_hexadecimal_digits() -> None:
    made = table(ID, column("x", "longblob"), column("t", "mediumtext", character_set="utf8mb4"), column("j", "json"), column("b", "blob"))
    statement, load = streams.select(made), streams.load(made, "/x")
    assert "HEX(`x`)" in statement and "HEX(`t`)" in statement and "HEX(CONVERT(`j` USING utf8mb4))" in statement
    assert statement.count("REPLACE(REPLACE(") == 1, "a value of 64 KiB is escaped"
    assert "`x` = UNHEX(@v1), `t` = UNHEX(@v2), `j` = CONVERT(UNHEX(@v3) USING utf8mb4)" in load
    assert "@v4" not in load


def test_columns_too_long_by_themselves_can_be_asked_for() -> None:
    made = table(ID, column("x", "longtext", character_set="utf8mb4"), column("o'k", "text", character_set="utf8mb4"), column("n", "int"))
    statement = streams.longest(made, "`id` < 5")
    assert "MAX(LENGTH(`x`)) * 1 + 2 > @@max_allowed_packet, 'x', NULL" in statement
    assert "'o''k'" in statement and "`n`" not in statement and statement.endswith("WHERE `id` < 5")


@pytest.mark.parametrize(
    "other",
    [
        column("b", "blob"),
        column("b", "varbinary"),
        column("b", "text", character_set="latin1"),
        column("b", "char", character_set="ascii"),
    ],
)
def test_a_table_with_any_other_bytes_has_all_its_texts_escaped(other: Column) -> None:
    made = table(ID, column("x", "varchar", character_set="utf8mb4"), other)
    assert streams.select(made).count("REPLACE(REPLACE(") == 2
    assert "CONCAT(0xff," not in streams.select(made)
    assert "ENCLOSED BY '\"' ESCAPED BY '\\\\'" in streams.load(made, "/x")


def test_a_row_of_one_column_begins_and_ends() -> None:
    assert streams.select(table(ID), "`id` < 5") == (
        f"SELECT CONCAT({constant('fbffff')}, `id`, {constant('fd')}) FROM `cloud`.`event` FORCE INDEX (PRIMARY) WHERE `id` < 5"
    )


def test_computed_columns_are_not_copied() -> None:
    made = table(ID, column("twice", "bigint", generated=True))
    assert "twice" not in streams.select(made)
    assert "twice" not in streams.load(made, "/x")


def test_bits_and_json_are_converted_when_taken_in() -> None:
    statement = streams.load(table(ID, column("mask", "bit"), column("doc", "json")), "/run/o'pipe")
    assert "`mask` = CAST(@v1 AS UNSIGNED)" in statement
    assert "`doc` = CONVERT(@v2 USING utf8mb4)" in statement
    assert "'/run/o''pipe'" in statement


@pytest.mark.parametrize(("low", "high"), [(1, 1_000_000), (-500, 500), (0, 2**64 - 1)])
def test_ranges_hold_every_row_once(low: int, high: int) -> None:
    made = table(ID, data=10 * streams.CHUNK_BYTES)
    conditions = streams.ranges(made, low, high)
    assert len(conditions) == 10
    for value in (low - 5, low, (low + high) // 2, high, high + 5):
        holding = [text for text in conditions if eval(text.replace("`id`", str(value)).replace("AND", "and"))]  # noqa: S307 - its own text
        assert len(holding) == 1


def test_a_huge_table_is_not_cut_into_too_many() -> None:
    assert len(streams.ranges(table(ID, data=1 << 42), 1, 10**9)) == streams.PIECES


@pytest.mark.parametrize("change", [{"primary_key": ()}, {"data_bytes": 100}])
def test_what_is_not_cut(change: dict[str, object]) -> None:
    assert streams.ranges(dataclasses.replace(table(ID), **change), 1, 10**6) == [""]  # type: ignore[arg-type]


def test_an_empty_table_is_one_range() -> None:
    assert streams.ranges(table(ID), None, None) == [""]


def test_types_that_are_not_copied_are_named() -> None:
    assert streams.unsupported(table(ID, column("v", "vector", "vector(3)"))) == ["cloud.event.v (vector(3))"]
    assert streams.unsupported(table(ID)) == []
