"""What is found of two servers' definitions without a judge, when one is asked, and in which words a difference is reported."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import judged
from parallel_build.database.compare.judged import Difference
from parallel_build.database.compare.session_pool import Side
from parallel_build.database.schema import counters, definitions, meanings
from parallel_build.database.schema.definitions import Code, Column, Schema, Table
from parallel_build.database.schema.prints import Key, Known, Print, prints
from parallel_build.database.server import judge
from parallel_build.errors import Cancelled

ID = Column("id", "bigint", "bigint(20)", False, False, None)
CREATE = "CREATE TABLE `{name}` (\n  `id` bigint(20) NOT NULL{more},\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB"


def table(name: str, *columns: Column, more: str = "", schema: str = "cloud") -> Table:
    return Table(schema, name, "InnoDB", CREATE.format(name=name, more=more), columns or (ID,), ("id",), 1, 1, 0)


def code(
    name: str, kind: str = "VIEW", create: str = "CREATE VIEW x AS SELECT 1", collation: str = "utf8mb4_general_ci", status: str = ""
) -> Code:
    return Code(kind, "cloud", name, create, "cloud@%", "", "utf8mb4", collation, status=status)


def schema(*things: Table | Code, name: str = "cloud", collation: str = "utf8mb4_general_ci") -> Schema:
    tables, codes = (tuple(each for each in things if isinstance(each, kind)) for kind in (Table, Code))
    return Schema(name, "utf8mb4", collation, cast(Any, tables), cast(Any, codes))


class Server:
    """A side with its definitions.

    Attributes:
        found: its databases.
        odd: what no copy brings, by database.
        counts: next numbers of tables.
    """

    def __init__(self, *found: Schema, family: str = "mariadb") -> None:
        self.found = {one.name: one for one in found}
        self.odd: dict[str, list[tuple[str, str]]] = {}
        self.counts: dict[tuple[str, str], int] = {}
        collation = "utf8mb4_0900_ai_ci" if family == "mysql" else "utf8mb4_general_ci"
        self.server = SimpleNamespace(family=family, name="db", dialect=SimpleNamespace(default_collation=collation))
        self.sessions = [SimpleNamespace(host=SimpleNamespace(name="newdb1"))]
        self.odd_too: list[bool] = []

    def ask(self, work: Callable[[Any], Any], table: Table | None = None) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(self))
        return done


class Judge:
    """What the judge is asked and says.

    Attributes:
        known: what was judged before.
        learns: (print's name) of which it finds out that both mean the same while it makes the original.
        refused: what the new server does not make from its own print any more.
        before, after: attributes of the original and of the copy as the judge has them.
        first, second: their prints there.
    """

    def __init__(self) -> None:
        self.known, self.learns = Known("here"), set[str]()
        self.refused: dict[Key, str] = {}
        self.before: dict[tuple[str, str], dict[str, str]] = {}
        self.after: dict[tuple[str, str], dict[str, str]] = {}
        self.first: dict[Key, Print] = {}
        self.second: dict[Key, Print] = {}
        self.calls: list[str] = []
        self.judged: list[str] = []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Judge:
    found = Judge()

    class Trial:
        def __init__(self, opened: Any, old: Any, new: Any, ours: Any, known: Known, cancel: CancelToken) -> None:
            assert (opened, known) == ("the judge", found.known) and [one.name for one in ours]
            self.turn = 0

        def make(self) -> None:
            found.calls.append("make")

        def settle(self, keys: Any) -> None:
            found.calls.append(f"settle {', '.join(name for _, _, name in keys)}")

        def judge(self, others: list[Print]) -> dict[Key, str]:
            found.judged += [other.name for other in others]
            for name, (one, other) in pairs.items():
                if name in found.learns:
                    found.known.learn([one, other], "same")
            self.turn = 1
            return found.refused

        def attributes(self) -> dict[tuple[str, str], dict[str, str]]:
            return found.after if self.turn else found.before

        def printed(self) -> dict[Key, Print]:
            return found.second if self.turn else found.first

    pairs: dict[str, tuple[Print, Print]] = {}
    real = Known.same

    def same(self: Known, one: Print, other: Print) -> bool | None:
        pairs[one.name] = (one, other)
        return real(self, one, other)

    @contextlib.contextmanager
    def opened(host: Any, cancel: CancelToken) -> Iterator[str]:
        assert host.name == "newdb1", "it runs next to the new server"
        found.calls.append("judge opened")
        yield "the judge"
        found.calls.append("judge closed")

    def known(session: Any, host: Any, original: str) -> Known:
        found.calls.append(f"known of {original} on {host.name}")
        return found.known

    def read(side: Server, schema: str, odd_too: bool = False) -> Schema:
        side.odd_too.append(odd_too)
        return side.found[schema]

    monkeypatch.setattr(Known, "same", same)
    monkeypatch.setattr(judged, "Trial", Trial)
    monkeypatch.setattr(judge, "judge", opened)
    monkeypatch.setattr(meanings, "known", known)
    monkeypatch.setattr(meanings, "keep", lambda host, kept: found.calls.append(f"kept on {host.name}"))
    monkeypatch.setattr(definitions, "existing", lambda side, names: [name for name in names if name in side.found])
    monkeypatch.setattr(definitions, "read", read)
    monkeypatch.setattr(definitions, "odd", lambda side, schema: side.odd.get(schema, []))
    monkeypatch.setattr(counters, "read", lambda side, names: {key: value for key, value in side.counts.items() if key[0] in names})
    return found


REPORTED: list[str] = []


def compared(left: Server, right: Server, *names: str) -> judged.Definitions:
    REPORTED.clear()
    return judged.compare_definitions(
        cast(Side, left), cast(Side, right), names or ("cloud", "cloud_usage"), cancel=CancelToken(), progress=REPORTED.append
    )


def test_the_same_definitions_need_no_judge(asked: Judge) -> None:
    one = schema(table("host"), code("host_view"))
    found = compared(Server(one), Server(one))
    assert (found.differences, found.notes, [each.name for each in found.tables]) == ([], [], ["host"])
    assert found.objects == 3, "a database, a table and a view"
    assert "judge opened" not in asked.calls and REPORTED == []


def test_what_only_one_side_has_is_named_and_a_missing_database_only_as_one(asked: Judge) -> None:
    left = Server(schema(table("host"), table("event")), schema(table("usage", schema="cloud_usage"), name="cloud_usage"))
    right = Server(schema(table("host"), code("odd_view")))
    found = compared(left, right)
    assert {str(each) for each in found.differences} == {
        "cloud: table event: missing: the copy does not have it",
        "cloud: view odd_view: additional: the original does not have it",
        "cloud_usage: database cloud_usage: missing: the copy does not have it",
    }
    assert [each.name for each in found.tables] == ["host"]
    back = compared(right, left).differences
    assert {(each.kind, each.object) for each in back} == {
        ("additional", "table event"), ("missing", "view odd_view"), ("additional", "database cloud_usage"),
    }  # fmt: skip


def test_what_no_copy_brings_is_looked_for_on_the_copy_alone(asked: Judge) -> None:
    left, right = Server(schema(table("host"))), Server(schema(table("host")))
    right.odd = left.odd = {"cloud": [("numbers", "sequence")]}
    found = compared(left, right, "cloud")
    assert [str(each) for each in found.differences] == ["cloud: sequence numbers: additional: the original does not have it"]
    assert (left.odd_too, right.odd_too) == ([False], [True])


@pytest.mark.parametrize(
    ("ours", "theirs", "different"), [("DISABLED", "ENABLED", True), ("ENABLED", "ENABLED", False), ("ENABLED", "DISABLED", False)]
)
def test_an_event_runs_on_the_copy_only_where_it_runs_on_the_original(asked: Judge, ours: str, theirs: str, different: bool) -> None:
    found = compared(Server(schema(code("tidy", "EVENT", status=ours))), Server(schema(code("tidy", "EVENT", status=theirs))))
    assert [str(each) for each in found.differences] == ["cloud: event tidy: definition: status 'DISABLED' became 'ENABLED'"] * different
    alone = compared(Server(schema(table("host"))), Server(schema(table("host"), code("tidy", "EVENT", status="ENABLED"))))
    assert [each.kind for each in alone.differences] == ["additional"], "that the original has none says it all"


def test_counters_are_compared_where_both_have_the_table(asked: Judge) -> None:
    left, right = Server(schema(table("host"), table("event"))), Server(schema(table("host"), table("event")))
    left.counts, right.counts = (
        {("cloud", "host"): 7, ("cloud", "event"): 3, ("cloud", "gone"): 1},
        {("cloud", "host"): 8, ("cloud", "event"): 3},
    )
    assert [str(each) for each in compared(left, right).differences] == ["cloud: table host: auto_increment: auto_increment '7' became '8'"]
    left.found, right.counts = {}, {("cloud", "host"): 9}
    assert {each.kind for each in compared(left, right).differences} == {"additional"}, "nothing is asked of a database that one side has"


def named(name: str, collation: str | None) -> Column:
    return Column(name, "varchar", "varchar(255)", True, False, "utf8mb4", collation)


def test_collations_are_asked_column_by_column_between_families_only(asked: Judge) -> None:
    def sides(theirs: str | None, family: str = "mysql", mine: str | None = "utf8mb4_general_ci") -> list[str]:
        left = Server(schema(table("host", ID, named("name", mine), named("left", "utf8mb4_bin"))))
        right = Server(schema(table("host", ID, named("name", theirs))), family=family)
        return [str(each) for each in compared(left, right).differences]

    assert sides("utf8mb4_bin") == ["cloud: column host.name: definition: collation 'utf8mb4_general_ci' became 'utf8mb4_bin'"]
    assert sides("utf8mb4_general_ci") == [] == sides("utf8mb4_bin", "mariadb"), "within a family the prints have it"
    assert sides(None) == [] == sides("utf8mb4_bin", mine=None)
    assert sides("utf8mb3_general_ci", mine="utf8_general_ci") == [] == sides("utf8_general_ci", mine="utf8mb3_general_ci")


def test_rows_are_compared_where_the_columns_are_the_same_in_whatever_order(asked: Judge) -> None:
    a, b, c = (named(name, None) for name in "abc")
    found = compared(
        Server(schema(table("one", ID, a, b), table("two", ID, a), table("three", ID, a))),
        Server(schema(table("one", ID, b, a), table("two", ID, c), table("three", ID, a, b))),
    )
    assert [each.name for each in found.tables] == ["one"]
    assert found.notes == [f"cloud.{name}: its rows, because the columns are not the same" for name in ("two", "three")]


def test_other_words_are_judged_once_and_kept(asked: Judge) -> None:
    left, right = (
        Server(schema(code("v", create="CREATE VIEW v AS SELECT 1"))),
        Server(schema(code("v", create="CREATE VIEW v AS SELECT (1)"))),
    )
    asked.learns = {"v"}
    assert compared(left, right).differences == []
    assert REPORTED == ["1 definitions are printed in other words: asking a server what they mean"]
    assert asked.calls == ["known of mariadb on newdb1", "judge opened", "make", "settle v", "judge closed", "kept on newdb1"]
    assert asked.judged == ["v"]
    asked.calls.clear()
    assert compared(left, right).differences == [] and asked.calls == ["known of mariadb on newdb1"]


def test_a_difference_is_shown_where_it_begins(asked: Judge) -> None:
    long = "CREATE VIEW v AS SELECT " + ", ".join(f"c{number}" for number in range(40))
    left, right = Server(schema(code("v", create=long))), Server(schema(code("v", create=long.replace("c20", "other"))))
    (found,) = compared(left, right).differences
    start = long.index("c20") - 20
    assert (found.kind, found.schema, found.object) == ("definition", "cloud", "view v")
    other = long.replace("c20", "other")
    assert found.detail == (
        f"definition '{long[start : start + 80]}' ({len(long)} characters) became '{other[start : start + 80]}' ({len(other)})"
    )
    short = compared(Server(schema(code("v", create="AB"))), Server(schema(code("v", create="AC")))).differences
    assert short[0].detail == "definition 'AB' (2 characters) became 'AC' (2)"
    cut = compared(Server(schema(code("v", create="AB"))), Server(schema(code("v", create="ABC")))).differences
    assert cut[0].detail == "definition 'AB' (2 characters) became 'ABC' (3)"


def test_what_the_judge_prints_is_what_is_shown(asked: Judge) -> None:
    one, other = (prints([schema(code("v", create=text))])["view", "cloud", "v"] for text in ("first", "fifth"))
    asked.first, asked.second = {one.key: one}, {one.key: other}
    (found,) = compared(Server(schema(code("v", create="a"))), Server(schema(code("v", create="b")))).differences
    assert found.detail == "definition 'first' (5 characters) became 'fifth' (5)"


def test_what_the_new_server_does_not_make_any_more_is_named(asked: Judge) -> None:
    asked.refused = {("view", "cloud", "v"): "unknown column"}
    asked.before = {("view", "cloud.v"): {"a": "1"}}
    (found,) = compared(Server(schema(code("v", create="a"))), Server(schema(code("v", create="b")))).differences
    assert found.detail == "the new server does not make it from its own print any more: unknown column"


def test_a_databases_own_default_is_named(asked: Judge) -> None:
    (found,) = compared(Server(schema(collation="utf8mb4_bin")), Server(schema())).differences
    assert str(found) == (
        "cloud: database cloud: definition: default character set and collation 'utf8mb4 utf8mb4_bin' became 'utf8mb4 utf8mb4_general_ci'"
    )


def test_parts_of_a_table_are_named_one_by_one(asked: Judge) -> None:
    asked.before = {
        ("table", "cloud.host"): {"engine": "InnoDB", "comment": "x" * 81, "options": ""},
        ("column", "cloud.host.id"): {"type": "bigint", "was": "there"},
        ("index", "cloud.host.gone"): {"columns": "id"},
        ("column", "cloud.hostile.id"): {"type": "int"},
        ("view", "cloud.host"): {"definition": "1"},
    }
    asked.after = {
        ("table", "cloud.host"): {"engine": "MyISAM", "comment": "y" * 80, "row_format": ""},
        ("column", "cloud.host.id"): {"type": "bigint", "extra": "auto"},
        ("index", "cloud.host.new"): {"columns": "id"},
        ("column", "cloud.hostile.id"): {"type": "bigint"},
        ("view", "cloud.host"): {"definition": "2"},
    }
    found = compared(Server(schema(table("host"))), Server(schema(table("host", more=" COMMENT 'x'")))).differences
    assert {each.schema for each in found} == {"cloud"}
    assert [f"{each.object}: {each.kind}: {each.detail}" for each in found] == [
        "column host.id: definition: extra '' became 'auto'",
        "column host.id: definition: was 'there' became ''",
        "index host.gone: missing: the copy does not have it",
        "index host.new: additional: the original does not have it",
        f"table host: definition: comment '{'x' * 60}...' (81 characters) became '{'y' * 80}'",
        "table host: definition: engine 'InnoDB' became 'MyISAM'",
    ]


def test_of_a_view_only_its_own_attributes_are_named(asked: Judge) -> None:
    asked.before = {("view", "cloud.v"): {"definer": "a"}, ("view", "cloud.v.x"): {"definer": "a"}, ("table", "cloud.v"): {"engine": "a"}}
    asked.after = {("view", "cloud.v"): {"definer": "b"}, ("view", "cloud.v.x"): {"definer": "b"}, ("table", "cloud.v"): {"engine": "b"}}
    found = compared(Server(schema(code("v", create="a"))), Server(schema(code("v", create="b")))).differences
    assert [str(each) for each in found] == ["cloud: view v: definition: definer 'a' became 'b'"]


def test_a_collation_that_each_family_gives_by_itself_is_no_difference(asked: Judge) -> None:
    own, other = "utf8mb4_general_ci", "utf8mb4_0900_ai_ci"
    same = (Server(schema(code("v", collation=own))), Server(schema(code("v", collation=other), collation=own), family="mysql"))
    assert compared(*same).differences == []
    for ours, theirs, family in ((own, "utf8mb4_bin", "mysql"), ("utf8mb4_bin", other, "mysql"), (own, "utf8mb4_bin", "mariadb")):
        sides = (Server(schema(code("v", collation=ours))), Server(schema(code("v", collation=theirs)), family=family))
        assert [each.object for each in compared(*sides).differences] == ["view v"], (ours, theirs, family)


def test_a_cancel_ends_it_before_anything_is_judged(asked: Judge) -> None:
    cancel = CancelToken()
    cancel.set("the operator cancelled")
    with pytest.raises(Cancelled):
        judged.compare_definitions(
            cast(Side, Server(schema())), cast(Side, Server(schema())), ["cloud"], cancel=cancel, progress=REPORTED.append
        )
    assert asked.calls == []


def test_a_finding_in_words() -> None:
    assert str(Difference("rows", "cloud", "table event", "id=7: missing")) == "cloud: table event: rows: id=7: missing"
