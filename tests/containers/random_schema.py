"""Databases that nobody would think of: schema, rows and writes drawn by hypothesis, as a case of tests/cases each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.containers.case_files import Case

NASTY = "aZ0 '\"\\`;,\t\n\r\0\x1aäß€😀%_-#/*()NUL\u0301\ufeff"
COLLATIONS = (
    "utf8mb4 COLLATE utf8mb4_general_ci", "utf8mb4 COLLATE utf8mb4_bin", "utf8mb4 COLLATE utf8mb4_unicode_ci",
    "utf8mb3 COLLATE utf8mb3_general_ci", "latin1 COLLATE latin1_swedish_ci", "ascii COLLATE ascii_general_ci",
    "ucs2 COLLATE ucs2_general_ci", "utf16 COLLATE utf16_bin", "cp1251 COLLATE cp1251_general_ci", "gbk COLLATE gbk_chinese_ci",
    "sjis COLLATE sjis_japanese_ci",
)  # fmt: skip
INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
MODES = ("", "NO_AUTO_VALUE_ON_ZERO", "STRICT_TRANS_TABLES,NO_ZERO_DATE", "ALLOW_INVALID_DATES", "ANSI_QUOTES", "PIPES_AS_CONCAT")
OPTIONS = ("", " ROW_FORMAT=COMPRESSED", " ROW_FORMAT=COMPACT", " COMMENT='KEY `x` (`y`), ü'", " AUTO_INCREMENT=1000000")
TEXTS = {"varchar(40)", "char(20)", "varchar(255)"}
LONG_TEXTS = {"text", "mediumtext", "longtext", "tinytext"}
BYTES = {"varbinary(40)", "binary(8)"}
LONG_BYTES = {"blob", "tinyblob", "longblob"}

Values = st.SearchStrategy[str]
names = st.one_of(
    st.text("abcdefgh_0123456789", min_size=1, max_size=12),
    st.text("abc .%-'\"`äß値$@#(){}", min_size=1, max_size=12).map(str.strip).filter(bool),
    st.sampled_from(["select", "key", "order", "primary", "group", "index", "desc", "table", "id", "temporary"]),
)


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return "`" + name.replace("`", "``") + "`"


def _text(value: str) -> str:
    """Text by its bytes: the same statement in every sql_mode."""
    return f"CONVERT(x'{value.encode().hex()}' USING utf8mb4)" if value else "''"


def _integer(bits: int, unsigned: bool) -> Values:
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.one_of(st.sampled_from([low, high, 0, high - 1]), st.integers(low, high)).map(str)


_texts = st.one_of(st.text(NASTY, max_size=20), st.sampled_from(["NULL", "\\N", "", " ", "a  ", "0", "\\\\", "ÿþý"])).map(_text)
_bytes = st.one_of(st.binary(max_size=24), st.sampled_from([b"\xfb\xff\xff", b"\xfe\xfd\xff", b'\\"', b"\0"])).map(
    lambda value: f"x'{value.hex()}'"
)
_dates = st.dates().map(lambda day: f"'{day.isoformat()}'") | st.sampled_from(["'0000-00-00'", "'2026-00-00'", "'2026-02-31'"])
_moments = st.datetimes().map(lambda value: f"'{value.isoformat(sep=' ')}'") | st.sampled_from(["'0000-00-00 00:00:00'"])
_numbers = st.decimals(-99999999, 99999999, places=6, allow_nan=False, allow_infinity=False).map(lambda value: f"{value:f}")
_floats = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.sampled_from(["5e-324", "-0e0", "16777217", "0.1"])
_times = st.sampled_from(["'838:59:59'", "'-838:59:59'", "'00:00:00.000001'", "'-00:00:01.5'", "'12:34:56'"])
_choices = st.sampled_from(["'a'", "'x,y'", "''", "'b,c'", "1", "2"])
_documents = st.sampled_from(["'{}'", "'[1, 2.5, null]'", "'\"x\"'", '\'{"a": {"b": ["ü"]}}\''])


@dataclass(frozen=True)
class Kind:
    """A type of column.

    Attributes:
        sql: as it is written.
        values: its values, as SQL.
        key: a whole value may be a key.
        prefix: only the beginning of one may.
    """

    sql: str
    values: Values
    key: bool = True
    prefix: bool = False


_INTEGERS = st.builds(
    lambda name, unsigned: Kind(f"{name}{' unsigned' if unsigned else ''}", _integer(INTEGERS[name], unsigned)),
    st.sampled_from(sorted(INTEGERS)),
    st.booleans(),
)
_TEXTS = st.builds(
    lambda form, collation: Kind(f"{form} CHARACTER SET {collation}", _texts, key=form in TEXTS, prefix=form not in TEXTS),
    st.sampled_from(sorted(TEXTS | LONG_TEXTS)),
    st.sampled_from(COLLATIONS),
)
_BYTES = st.sampled_from(sorted(BYTES | LONG_BYTES)).map(lambda form: Kind(form, _bytes, key=form in BYTES, prefix=form not in BYTES))
_PLACED = st.builds(
    lambda form, places: Kind(form[0].format(places), form[1]),
    st.sampled_from([("datetime({})", _moments), ("decimal(20,{})", _numbers), ("time({})", _times)]),
    st.integers(0, 6),
)
_OTHERS = st.sampled_from([
    Kind("date", _dates), Kind("float", _floats, key=False), Kind("double", _floats, key=False), Kind("json", _documents, key=False),
    Kind("bit(33)", st.integers(0, 2**33 - 1).map(str)), Kind("enum('a','b,c','it''s')", _choices), Kind("set('x','y','z')", _choices),
])  # fmt: skip
kinds = st.one_of(_INTEGERS, _TEXTS, _TEXTS, _BYTES, _PLACED, _OTHERS)
Column = tuple[str, Kind]


@st.composite
def _definitions(draw: st.DrawFn, columns: list[Column], counter: bool, key: list[str]) -> list[str]:
    """What stands within the brackets of a CREATE TABLE."""
    lines = ["`id` bigint unsigned NOT NULL AUTO_INCREMENT"] if counter else []
    for column, kind in columns:
        null = "NOT NULL" if column in key else draw(st.sampled_from(["NOT NULL", "NULL"]))
        lines.append(f"{quoted(column)} {kind.sql} {null}" + draw(st.sampled_from(["", " COMMENT 'it''s a ;'"])))
    integers = [column for column, kind in columns if kind.sql.split()[0] in INTEGERS]
    if draw(st.booleans()) and integers:
        stored = draw(st.sampled_from(["VIRTUAL", "STORED"]))
        lines.append(f"`generated` varchar(60) GENERATED ALWAYS AS (CONCAT('n', {quoted(integers[0])})) {stored}")
    if counter or key:
        lines.append(f"PRIMARY KEY ({'`id`' if counter else ', '.join(map(quoted, key))})")
    for place, (column, kind) in enumerate(columns):
        if (kind.key or kind.prefix) and draw(st.integers(0, 2)) == 0:
            unique = "UNIQUE " if draw(st.integers(0, 4)) == 0 else ""
            lines.append(f"{unique}KEY `k{place}` ({quoted(column)}{'(9)' if kind.prefix else ''})")
    return lines


@st.composite
def tables(draw: st.DrawFn, number: int) -> tuple[list[str], list[str]]:
    """Statements that make a table and fill it, and those that write to it later."""
    name = quoted(f"t{number} {draw(names)}".strip())
    columns: list[Column] = [(f"c{place}_{draw(names)}", draw(kinds)) for place in range(draw(st.integers(1, 9)))]
    keyed = draw(st.sampled_from(["counter", "columns", "none"]))
    key = [column for column, kind in columns if kind.key][:2] if keyed == "columns" else []
    lines = draw(_definitions(columns, keyed == "counter", key))
    partition = " PARTITION BY HASH (`id`) PARTITIONS 3" if keyed == "counter" and draw(st.integers(0, 7)) == 0 else ""
    charset, options = draw(st.sampled_from(["utf8mb4", "utf8mb3", "latin1"])), draw(st.sampled_from(OPTIONS))
    listed = ", ".join(quoted(column) for column, _ in columns)
    row = st.tuples(*(st.one_of(kind.values, kind.values, st.just("NULL")) for _, kind in columns)).map(", ".join)
    making = [f"CREATE TABLE {name} ({', '.join(lines)}) ENGINE=InnoDB DEFAULT CHARSET={charset}{options}{partition};"]
    making += [f"INSERT IGNORE INTO {name} ({listed}) VALUES ({each});" for each in draw(st.lists(row, max_size=12))]
    column, kind = draw(st.sampled_from(columns))
    writing = [
        f"UPDATE IGNORE {name} SET {quoted(column)} = {draw(kind.values)} ORDER BY 1 LIMIT 2;",
        f"INSERT IGNORE INTO {name} ({listed}) VALUES ({draw(row)});",
    ]
    if keyed != "none" and draw(st.booleans()):
        writing.append(f"DELETE FROM {name} ORDER BY 1 LIMIT 1;")
    if draw(st.integers(0, 3)) == 0:
        # MySQL 9.7 takes a text's bytes for another text's next to bytes or bits, once more with each print: cases/view-binary-literal.
        other = "'u'" if kind.values is _bytes or kind.sql.startswith("bit") else "'ü'"
        shown = f"{listed}, COALESCE({quoted(column)}, {other}) AS `x y`"
        making.append(f"CREATE VIEW `v{number}` AS SELECT {shown} FROM {name} WHERE {quoted(column)} IS NOT NULL OR 1 = 1;")
    if draw(st.integers(0, 5)) == 0:
        making.append(f"CREATE TRIGGER `r{number}` BEFORE UPDATE ON {name} FOR EACH ROW SET @x = 'it''s', @y = OLD.{quoted(column)};")
    return making, writing


@st.composite
def databases(draw: st.DrawFn) -> tuple[str, str]:
    """A case's create.sql and events-while.sql."""
    making: list[str] = []
    writing: list[str] = ["SET SESSION sql_mode = '';"]
    for number in range(draw(st.integers(4, 10))):
        made, written = draw(tables(number))
        making += [f"SET SESSION sql_mode = '{draw(st.sampled_from(MODES))}';", *made]
        writing += written
    making += ["CREATE PROCEDURE `p` (a varchar(9)) SELECT a, 1;", "CREATE FUNCTION `f` () RETURNS int DETERMINISTIC RETURN 1;"]
    return "\n".join(making), "\n".join(writing)


def draw_case(number: int, start: int, folder: Path) -> Case:
    """Write down case `number` of a seed; always the same."""

    @seed(start * 1_000_003 + number)
    @settings(max_examples=2, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(databases())
    def write(drawn: tuple[str, str]) -> None:  # The first example is the smallest there is, the second one is drawn.
        about = f"-- Drawn by tests/containers/random_schema.py: seed {start}, number {number}."
        (folder / "create.sql").write_text(f"{about}\n{drawn[0]}\n", encoding="utf-8")
        (folder / "events-while.sql").write_text(drawn[1] + "\n", encoding="utf-8")

    folder.mkdir(parents=True, exist_ok=True)
    write()
    return Case(folder)
