"""Tables drawn at random, and something that is done to a copy of each: values that move between rows and columns, NULL against empty, keys at the ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
PIECES = (
    "", " ", "a", "A", "á", "a ", "ß", "ss", "\0", "ù", "\x7f", "€", "#", "N", "NULL", "\\N", "\n", "ÿ", "0", "00", "1", "1.0", "e\u0301", "\u200b", "'", '"',
    "\\", "Ω",
)  # fmt: skip
COLLATIONS = (
    "utf8mb4 COLLATE utf8mb4_general_ci", "utf8mb4 COLLATE utf8mb4_bin", "utf8mb4 COLLATE utf8mb4_unicode_ci", "utf8mb3 COLLATE utf8mb3_general_ci",
)  # fmt: skip
LONG = ("text", "blob", "json")
DONE = ("none", "value", "null", "delete", "insert", "key", "rows", "columns", "move", "case", "two")
ENUM = "enum('a','','A ','b','ù','0','1') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
BYTES = (0, 0xF9, 0xFA, 0x23, 0x4E, 0xFF, 0x30, 0x20)

Draw = Callable[[], str]


@dataclass(frozen=True)
class Drawn:
    """A table.

    Attributes:
        name: it.
        making: statements that make and fill it on both servers.
        changing: what is then done to it on the second one, which may change nothing.
        floats: columns that a server's own dump prints with six digits only.
        keyed: it has a primary key.
    """

    name: str
    making: Sequence[str]
    changing: str
    floats: Sequence[str]
    keyed: bool


def _text(value: str) -> str:
    return f"CONVERT(x'{value.encode().hex()}' USING utf8mb4)" if value else "''"


def _integer(dice: random.Random, bits: int, unsigned: bool) -> int:
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    some = dice.randint(max(low, -9), min(high, 99))
    return dice.choice((low, high, low + 1, high - 1, max(low, min(high, 0)), dice.randint(low, high), some))


def _integers(dice: random.Random, bits: int, unsigned: bool) -> Draw:
    return lambda: str(_integer(dice, bits, unsigned))


def _column(dice: random.Random, utf8: bool) -> tuple[str, Draw]:
    """A type, and what draws its values."""
    collation = dice.choice(COLLATIONS)

    def of(*values: str) -> Draw:
        return lambda: dice.choice(values)

    def text() -> str:
        return _text("".join(dice.choice(PIECES) for _ in range(dice.randint(0, 8)))[:20])

    def some_bytes() -> str:
        return f"x'{bytes(dice.choice(BYTES) for _ in range(dice.randint(0, 6))).hex()}'"

    found: list[tuple[str, Draw]] = [
        (f"{form} CHARACTER SET {collation}", text) for form in ("varchar(40)", "char(24)", "text", "tinytext", "mediumtext", "longtext")
    ]
    found += [
        ("double", of("0e0", "1e0", "0.1", "1e308", "5e-324", "9007199254740992e0", "9007199254740994e0", "-1e0", "249e0")),
        ("float", of("0", "0.1", "16777217", "1e38", "1e-38", "-1")), ("float(7,3)", of("0", "1.125", "-999.5")),
        ("double(10,2)", of("0", "0.1", "-99.25")), ("decimal(20,6)", of("0", "0.1", "-12.000001")), ("year", of("0", "1901", "2155")),
        ("decimal(65,30)", of("0", "1", "0.000000000000000000000000000001", "-12345678901234567890123456789012345")),
        ("int zerofill", of("0", "12", "99999")), ("date", of("'0000-00-00'", "'2026-00-00'", "'2026-02-31'", "'9999-12-31'")),
        ("datetime(6)", of("'0000-00-00 00:00:00'", "'2026-11-30 10:00:00.123456'", "'2026-11-30 10:00:00'")),
        ("timestamp(6) NULL", of("'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2026-03-29 02:30:00.25'")),
        ("time(6)", of("'-00:00:01'", "'838:59:59'", "'00:00:00.000001'", "'00:00:00'")), ("bit(1)", of("0", "1")),
        ("bit(64)", of("0", str(2**64 - 1), str(2**63), "48", "249")), (ENUM, of("1", "2", "3", "4", "5", "6", "7", "''")),
        ("set('a','b','c') CHARACTER SET utf8mb4", lambda: str(dice.randrange(8))),
    ]  # fmt: skip
    for name, bits in INTEGERS.items():
        found += [(name, _integers(dice, bits, False)), (f"{name} unsigned", _integers(dice, bits, True))]
    if not utf8:
        found += [("varbinary(20)", some_bytes), ("binary(6)", some_bytes), ("blob", some_bytes)]
        found += [
            ("varchar(30) CHARACTER SET latin1", lambda: f"CONVERT({some_bytes()} USING latin1)"),
            ("varchar(30) CHARACTER SET ucs2", text),
        ]
    return dice.choice(found)


def _keys(dice: random.Random, bits: int, unsigned: bool) -> set[int]:
    number = dice.choice((0, 1, 2, 3, 10, 30, 60))
    if dice.random() < 0.3:
        return {_integer(dice, bits, unsigned) for _ in range(number)}
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    first = dice.choice((low, max(low, high - 200), max(low, -20)))
    return {min(high, first + dice.randrange(200)) for _ in range(number)}


def table(dice: random.Random, name: str) -> Drawn:
    """Draw one."""
    utf8, keyed = dice.random() < 0.75, dice.random() < 0.85
    columns = [(f"c{place}", *_column(dice, utf8), dice.random() < 0.6) for place in range(dice.randint(1, 6))]
    kind, unsigned = dice.choice(sorted(INTEGERS)), dice.random() < 0.5
    keys = sorted(_keys(dice, INTEGERS[kind], unsigned))
    parts = [f"`id` {kind}{' unsigned' if unsigned else ''} NOT NULL"] if keyed else []
    parts += [f"`{each}` {sql}{'' if sql.endswith(' NULL') else ' NULL' if null else ' NOT NULL'}" for each, sql, _, null in columns]
    if keyed and dice.random() < 0.15:
        parts.append(f"`made` varchar(90) GENERATED ALWAYS AS (CONCAT('g', `id`)) {dice.choice(('VIRTUAL', 'STORED'))}")
    if dice.random() < 0.3 and not any(word in columns[0][1] for word in LONG):
        parts.append(f"KEY z (`{columns[0][0]}`)")
    parts += ["PRIMARY KEY (`id`)"] if keyed else []
    partition = " PARTITION BY HASH (id) PARTITIONS 3" if keyed and dice.random() < 0.1 else ""
    listed = ", ".join([*(["`id`"] if keyed else []), *(f"`{each}`" for each, *_ in columns)])

    def insert(key: int) -> str:
        values = [*([str(key)] if keyed else []), *("NULL" if null and dice.random() < 0.3 else draw() for _, _, draw, null in columns)]
        return f"INSERT IGNORE INTO `{name}` ({listed}) VALUES ({', '.join(values)});"

    making = [f"CREATE TABLE `{name}` ({', '.join(parts)}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4{partition};", *map(insert, keys)]
    other = _integer(dice, INTEGERS[kind], unsigned)
    floats = [each for each, sql, _, _ in columns if sql.startswith("float")]
    return Drawn(name, making, _change(dice, name, columns, keys if keyed else None, other, insert(other)), floats, keyed)


def _change(
    dice: random.Random, name: str, columns: Sequence[tuple[str, str, Draw, bool]], keys: Sequence[int] | None, other: int, insert: str
) -> str:
    one, _, draw, _ = dice.choice(columns)
    where = f"ORDER BY {'`id`' if keys is not None else '1'} {dice.choice(('', 'DESC'))} LIMIT 1"
    update = f"UPDATE IGNORE `{name}` SET"
    first, second = (dice.sample([each for each, *_ in columns], 2) * 2)[:2] if len(columns) > 1 else (one, one)
    taken = f"SET @a := (SELECT `{first}` FROM `{name}` {where}), @b := (SELECT `{second}` FROM `{name}` {where});"
    a, b = dice.sample(keys, 2) if keys and len(keys) > 1 else (0, 1)
    swap = f"SET @a := (SELECT `{one}` FROM `{name}` WHERE id = {a}), @b := (SELECT `{one}` FROM `{name}` WHERE id = {b});"
    changes = {
        "none": "",
        "value": f"{update} `{one}` = {draw()} {where};",
        "null": f"{update} `{one}` = {dice.choice(('NULL', repr(''), '0'))} {where};",
        "delete": f"DELETE FROM `{name}` {where};",
        "insert": insert,
        "key": f"{update} `id` = {other} {where};" if keys is not None else "",
        "rows": f"{swap} {update} `{one}` = IF(id = {a}, @b, @a) WHERE id IN ({a}, {b});" if keys is not None else "",
        "columns": f"{taken} {update} `{first}` = @b, `{second}` = @a {where};",
        "move": f"{taken} {update} `{first}` = CONCAT(@a, LEFT(@b, 1)), `{second}` = SUBSTR(@b, 2) {where};",
        "case": f"{update} `{one}` = {dice.choice(('UPPER', 'LOWER', 'RTRIM', 'REVERSE'))}(`{one}`) {where};",
        "two": f"{update} `{one}` = {draw()} {where}; DELETE FROM `{name}` {where};",
    }
    return changes[dice.choice(DONE)]
