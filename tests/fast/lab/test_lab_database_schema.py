"""The schema's data files: they read, they refer to what exists, and they are CloudStack's."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import pytest

from lab.database import ddl
from lab.database.errors import SchemaError
from lab.database.notation import parse_tables, parse_views, tables, views
from lab.database.procedures import procedures
from lab.database.settings import configuration_rows, settings

DATA = Path(__file__).parents[4] / "shared" / "data"
DATABASES = ("cloud", "cloud_usage")


def test_all_tables_and_programs_of_cloudstack_are_there() -> None:
    assert [len(tables(name)) for name in DATABASES] == [305, 31]
    assert [len(views(name)) for name in DATABASES] == [34, 0]
    assert [len(procedures(name)) for name in DATABASES] == [13, 5]


@pytest.mark.parametrize("database", DATABASES)
def test_keys_name_columns_that_exist(database: str) -> None:
    for table in tables(database).values():
        names = {column.name for column in table.columns}
        assert len(names) == len(table.columns), table.name
        for key in table.keys:
            assert {re.sub(r"\(\d+\)$", "", column) for column in key.columns} <= names, (table.name, key.name)
            if key.kind == "fk":
                target = {column.name for column in tables(database)[key.table].columns}
                assert set(key.references) <= target, (table.name, key.name)


@pytest.mark.parametrize("database", DATABASES)
def test_every_table_has_a_primary_key_and_renders(database: str) -> None:
    for table in tables(database).values():
        assert [key.kind for key in table.keys].count("pk") == 1, table.name
        assert ddl.create_table(table).count("\n") == len(table.columns) + len(table.keys) + 2


def test_views_come_after_those_that_they_read() -> None:
    order = [view.name for view in ddl.in_order(views("cloud"))]
    assert order.index("account_view") > order.index("free_ip_view")
    assert order.index("account_view") > order.index("account_netstats_view")


def test_views_in_a_circle_are_refused() -> None:
    circle = parse_views("view a\n  from b\n  b: id\nview b\n  from a\n  a: id\n")
    with pytest.raises(SchemaError, match="circle: a, b"):
        ddl.in_order(circle)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("table t\n  id:U+ what?\n", "is not a column"),
        ("table t\n  id:U+\n  fk f: id other id\n", "is not a foreign key"),
        ("id:U+\n", "neither a table nor part of one"),
    ],
)
def test_a_line_that_does_not_fit_is_refused(text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        parse_tables(text)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(SchemaError, match="unknown type code 'q7'"):
        ddl.column_type("q7")


def test_settings_are_read_with_their_categories() -> None:
    known = {setting.name: setting for setting in settings()}
    assert known["init"].encrypted
    assert known["ca.plugin.root.private.key"].category == "Hidden"
    assert known["alert.smtp.password"].category == "Secure"
    assert (known["host"].category, known["host"].scope, known["host"].default) == ("Advanced", "Global", "localhost")
    assert not known["host"].encrypted


def test_a_value_for_an_unknown_setting_is_refused() -> None:
    with pytest.raises(SchemaError, match="no\\.such\\.setting"):
        list(configuration_rows({"no.such.setting": "1"}, None))


def _of_dump(path: Path) -> dict[str, dict[str, str]]:
    """Tables of a dump with their columns as they are written there, without comments."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        text = file.read()
    found: dict[str, dict[str, str]] = {}
    for match in re.finditer(r"^CREATE TABLE `(\w+)` \((.*?)^\) ", text, re.S | re.M):
        lines = re.findall(r"^  `(\w+)` (.*?),?$", match[2], re.M)
        found[match[1]] = {name: re.sub(r" COMMENT '(?:[^']|'')*'$", "", rest) for name, rest in lines}
    return found


@pytest.mark.parametrize("database", DATABASES)
def test_names_and_types_are_those_of_a_real_dump(database: str) -> None:
    path = DATA / f"{database}-4.20.3.0.sql.xz"
    if not path.exists():
        pytest.skip("no dump of a real CloudStack 4.20.3.0 (../shared/data) to compare with")
    own = {table.name: dict(re.findall(r"^  `(\w+)` (.*?),?$", ddl.create_table(table), re.M)) for table in tables(database).values()}
    # the server writes the NULL of a timestamp and leaves that of all others away, as the rendered text does
    assert own == _of_dump(path)
