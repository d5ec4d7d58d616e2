"""Guards over what is around the stack: which database the original uses, who else uses it, and who starts and stops its servers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cloudstack import heartbeats, properties
from parallel_build.cloudstack.api import ApiRefused
from parallel_build.cloudstack.services import USAGE
from parallel_build.errors import ConfigurationError, GuardFailed
from parallel_build.facts import database_users, management_node
from parallel_build.facts import original as original_facts
from parallel_build.facts.database_users import AccountUse, Client, DatabaseUse
from parallel_build.facts.management_node import DatabaseTarget, ManagementNode
from parallel_build.guards import world
from parallel_build.provider.relevance import relevant
from parallel_build.remote.sql import Refused
from tests.fast.guards.conftest import refusals_read
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.sites import VALUES, site

__all__ = ["refusals_read"]

YEAR = 365 * 86400
FRONTEND = [{"kind": "keepalived", "address": "10.91.0.5"}]


def row(name: str, address: str, **more: Any) -> dict[str, Any]:
    """A row of mshost that beats."""
    return {"name": name, "service_ip": address, "state": "Up", "version": "4.20.3.0", "age": 1, "beats": True, **more}


@pytest.mark.parametrize(
    "rows",
    [
        [row("oldms1", "10.91.0.11", age=YEAR, beats=False), row("oldms2", "10.91.0.12", age=YEAR, beats=False)],
        [row("oldms1", "10.91.0.11", state="Down", age=YEAR, beats=False)],
        [row("oldms1", "10.91.0.11", beats=False), row("oldms2", "10.91.0.12", beats=False)],  # ages of a clock that jumped
        [row("oldms1", "10.91.0.11", age=YEAR)],
        [],
    ],
)
def test_a_former_source_is_never_switched_to(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(GuardFailed, match="do not write to the database on olddb1") as caught:
        world.management_servers_beat_here(site(), replace(GOOD_OLD, management=rows), GOOD_NEW)
    assert "oldms2" in caught.value.fact and "former source" in caught.value.cause and "original.database.source" in caught.value.remedy


@pytest.mark.parametrize("listed", [None, ["oldms1", "oldms2"], ["oldms1"], ["oldms2"]])
def test_an_api_of_the_cloud_itself_is_known_by_its_servers(listed: list[str] | None) -> None:
    """One of them may be down by now, or just come up; a version before 4.16 does not say."""
    rows = [row("OldMs1", "10.91.0.11"), row("oldms2", "10.91.0.12"), row("oldms9", "10.91.0.19", state="Down", beats=False)]
    world.api_serves_this_database(site(), replace(GOOD_OLD, management=rows, api_servers=listed), GOOD_NEW)


@pytest.mark.parametrize(
    ("listed", "words"), [(["clonems"], "it lists clonems"), (["oldms9"], "of oldms1, oldms2, which write there"), ([], "it lists none")]
)
def test_an_api_of_a_clone_is_never_taken_for_the_clouds(listed: list[str], words: str) -> None:
    rows = [row("oldms1", "10.91.0.11"), row("oldms2", "10.91.0.12"), row("oldms9", "10.91.0.19", state="Down", beats=False)]
    with pytest.raises(GuardFailed, match=words) as caught:
        world.api_serves_this_database(site(), replace(GOOD_OLD, management=rows, api_servers=listed), GOOD_NEW)
    assert "clone" in caught.value.cause and "original.api.url" in caught.value.remedy


def test_what_beats_counts_whatever_its_age() -> None:
    rows = [row("oldms1", "10.91.0.11", age=-3000), row("oldms2", "10.91.0.12", age=9000)]
    world.management_servers_beat_here(site(), replace(GOOD_OLD, management=rows), GOOD_NEW)


def test_a_server_that_is_down_need_not_beat_but_one_must_run() -> None:
    down = ManagementNode(runs=False)
    one = replace(GOOD_OLD, management=[row("oldms1", "10.91.0.11")], nodes={"oldms2": down})
    world.management_servers_beat_here(site(), one, GOOD_NEW)
    with pytest.raises(GuardFailed, match=r"no management server of original\.management runs"):
        world.management_servers_beat_here(site(), replace(one, nodes={"oldms1": down, "oldms2": down}), GOOD_NEW)


@pytest.mark.parametrize("state", ["Maintenance", "PreparingForMaintenance", "ReadyToShutDown", "Down"])
def test_a_stranger_that_beats_is_one_in_every_state(state: str) -> None:
    rows = [*GOOD_OLD.management, row("oldms3", "10.91.0.99", state=state)]
    with pytest.raises(GuardFailed, match=r"oldms3 \(10\.91\.0\.99\)"):
        world.management_servers_are_known(site(), replace(GOOD_OLD, management=rows), GOOD_NEW)


NODES = {
    "oldms1": ManagementNode(names=frozenset({"oldms1", "ms1.example.org"}), msids=frozenset({11})),
    "oldms2": ManagementNode(names=frozenset({"oldms2"}), msids=frozenset({12})),
}
ADDRESSES = {"oldms1": ["127.0.0.1", "10.91.0.11", "198.51.100.11"], "oldms2": ["127.0.0.1", "10.91.0.12"]}


@pytest.mark.parametrize("written", ["2001:db8::11", "2001:DB8::11", "2001:db8:0:0:0:0:0:11", "[2001:db8::11]", "2001:0db8::0011"])
def test_an_address_is_one_address_however_its_server_has_written_it(written: str) -> None:
    """Java, and whoever has run cloudstack-setup-databases, may write it in full."""
    here = site(original={"management": [{"name": "ms-a", "address": "2001:db8::11"}]})
    rows = [row("anything", written)]
    world.management_servers_are_known(here, replace(GOOD_OLD, management=rows, addresses={"ms-a": ["2001:db8::11"]}), GOOD_NEW)
    other = [row("anything", "2001:db8::12")]
    with pytest.raises(GuardFailed, match="does not know"):
        world.management_servers_are_known(here, replace(GOOD_OLD, management=other, addresses={"ms-a": ["2001:db8::11"]}), GOOD_NEW)


@pytest.mark.parametrize(
    ("first", "known"),
    [
        (row("oldms1", "127.0.0.1"), True),
        (row("ms1.example.org", "127.0.1.1"), True),
        (row("localhost", "127.0.0.1", msid=11), True),
        (row("anything", "198.51.100.11"), True),  # another of its network cards
        (row("anything", "10.91.0.77", msid=11), True),  # an address that it has lost since it started
        (row("localhost", "127.0.0.1", msid=99), False),
        (row("localhost", "127.0.0.1"), False),
        (row("oldms1", "10.91.0.77", msid=99), False),  # a clone with the same name
        (row("oldms1", "127.0.0.1", msid=12), False),  # the other server's
    ],
)
def test_a_management_server_is_known_by_more_than_one_address(first: dict[str, Any], known: bool) -> None:
    old = replace(GOOD_OLD, management=[first], nodes=NODES, addresses=ADDRESSES)
    assert world.is_row_of(first, site().configuration.original.management[0], old) is known


def test_the_name_counts_where_nothing_else_could_be_read() -> None:
    server = site().configuration.original.management[0]
    assert world.is_row_of(row("oldms1", "198.51.100.11"), server, GOOD_OLD)
    assert world.is_row_of(row("oldms1", "127.0.0.1"), server, GOOD_OLD)


def leads(host: str, *addresses: str, key: str = "db.cloud.host", port: int = 3306, **changes: Any) -> bool:
    """Whether a target of oldms1 is accepted."""
    node = ManagementNode(targets=(DatabaseTarget(key, host, port, addresses),))
    own = {"oldms1": ["127.0.0.1", "10.91.0.11"], "olddb1": ["127.0.0.1", "10.91.0.13", "192.0.2.13"]}
    try:
        world.management_servers_use_the_source(site(**changes), replace(GOOD_OLD, nodes={"oldms1": node}, addresses=own), GOOD_NEW)
    except GuardFailed:
        return False
    return True


def test_db_properties_must_lead_to_the_source() -> None:
    assert leads("10.91.0.13") and leads("192.0.2.13") and leads("db.example.org", "10.91.0.13")
    assert not leads("10.91.0.14")  # the replica, which is read, is not the source
    assert not leads("10.91.0.99") and not leads("db.example.org", "10.91.0.99") and not leads("db.example.org") and not leads("")
    assert not leads("10.91.0.13", port=3307)  # another server on the same machine
    assert leads("10.91.0.14", key="db.cloud.replicas") and not leads("10.91.0.99", key="db.usage.replicas")


def test_localhost_is_the_source_only_where_they_share_a_machine() -> None:
    assert not leads("localhost", "127.0.0.1", "::1")
    together = {"database": {"source": {"name": "olddb1", "address": "10.91.0.11"}, "replica": {"name": "olddb2", "address": "10.91.0.14"}}}
    assert leads("localhost", "127.0.0.1", "::1", original={**original(), **together})


def original() -> dict[str, Any]:
    """The section of the original."""
    return dict(VALUES["original"])


def test_a_declared_front_end_leads_to_the_source() -> None:
    assert not leads("10.91.0.5", port=3307)
    assert leads("10.91.0.5", port=3307, original={"frontend": FRONTEND})
    assert leads("vip.example.org", "10.91.0.5", original={"frontend": FRONTEND})
    assert not leads("10.91.0.6", original={"frontend": FRONTEND})


def test_a_server_without_db_properties_is_no_proof() -> None:
    with pytest.raises(GuardFailed, match=r"oldms1 has no db\.properties"):
        world.management_servers_use_the_source(site(), replace(GOOD_OLD, nodes={"oldms1": ManagementNode(targets=None)}), GOOD_NEW)


def test_an_address_of_a_server_is_no_front_end() -> None:
    with pytest.raises(ConfigurationError, match=r"original\.frontend: 10\.91\.0\.13 is the address of olddb1"):
        site(original={"frontend": [{"kind": "keepalived", "address": "10.91.0.13"}]})
    with pytest.raises(ConfigurationError, match="gone is not one of the original's servers"):
        site(original={"frontend": [{"kind": "monit", "servers": ["gone"]}]})


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"db.cloud.host": "a", "db.usage.host": "b"}, [("db.cloud.host", "a", 3306), ("db.usage.host", "b", 3306)]),
        ({"db.cloud.host": "a", "db.cloud.port": "3307"}, [("db.cloud.host", "a", 3307), ("db.usage.host", "", 3306)]),
        (
            {"db.ha.enabled": "true", "db.cloud.host": "a", "db.cloud.replicas": "b, c", "db.usage.host": "a", "db.usage.slaves": "d"},
            [("db.cloud.host", "a", 3306), ("db.cloud.replicas", "b", 3306), ("db.cloud.replicas", "c", 3306),
             ("db.usage.host", "a", 3306), ("db.usage.slaves", "d", 3306)],
        ),
        (
            {"db.ha.enabled": "false", "db.cloud.host": "a", "db.cloud.replicas": "b", "db.usage.host": "a"},
            [("db.cloud.host", "a", 3306), ("db.usage.host", "a", 3306)],
        ),
        (
            {"db.cloud.uri": "jdbc:mysql://x:3307,[2001:db8::1]:3308/cloud?a=b", "db.cloud.host": "a", "db.usage.host": "2001:db8::2"},
            [("db.cloud.uri", "x", 3307), ("db.cloud.uri", "2001:db8::1", 3308), ("db.usage.host", "2001:db8::2", 3306)],
        ),
        ({"db.cloud.uri": "nonsense", "db.usage.host": "a"}, [("db.cloud.uri", "", 3306), ("db.usage.host", "a", 3306)]),
    ],
)  # fmt: skip
def test_what_db_properties_leads_to(values: dict[str, str], found: list[tuple[str, str, int]]) -> None:
    assert [(each.key, each.host, each.port) for each in management_node.targets(values)] == found


PROPERTIES = "db.cloud.host=10.91.0.13\ndb.usage.host=10.91.0.13\ndb.cloud.username=cloud\n"


@pytest.mark.parametrize(
    ("usage", "runs", "found", "users"),
    [
        (None, True, [], {"cloud"}),
        (PROPERTIES, True, [], {"cloud"}),  # the link that the packages make
        (
            "db.cloud.host=10.91.0.13\ndb.usage.host=10.91.0.99\ndb.usage.username=billing\n",
            True,
            [("db.usage.host", "10.91.0.99")],
            {"cloud", "billing"},
        ),
        ("db.cloud.host=10.91.0.98\ndb.usage.host=10.91.0.13\n", True, [("db.cloud.host", "10.91.0.98")], {"cloud"}),
        ("db.cloud.host=10.91.0.98\ndb.usage.host=10.91.0.98\n", False, [], {"cloud"}),  # a file of a usage server that nobody runs
    ],
)
def test_a_usage_server_on_a_management_server_has_a_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch, usage: str | None, runs: bool, found: list[tuple[str, str]], users: set[str]
) -> None:
    """It writes where that leads to, whatever the management server's file says."""
    files = {properties.DB_PROPERTIES: PROPERTIES, management_node.USAGE_PROPERTIES: usage}
    monkeypatch.setattr(management_node, "who", lambda _: (frozenset(), frozenset(), ""))
    monkeypatch.setattr(properties, "read", lambda _, path: None if files[path] is None else properties.parse(files[path] or ""))
    monkeypatch.setattr(management_node, "addresses_of", lambda _, name: [name])
    states = SimpleNamespace(state=lambda unit: SimpleNamespace(active=runs if unit == USAGE else True))
    monkeypatch.setattr(management_node, "Services", lambda _: states)
    node = management_node.read(SimpleNamespace())  # type: ignore[arg-type]
    assert node.users == users and [(each.key, each.host) for each in node.targets or () if each.file] == found
    judged = replace(GOOD_OLD, nodes={"oldms1": node})
    if found:
        with pytest.raises(GuardFailed, match=f"{found[0][0]} in /etc/cloudstack/usage/db.properties of oldms1 is {found[0][1]}"):
            world.management_servers_use_the_source(site(), judged, GOOD_NEW)
    else:
        world.management_servers_use_the_source(site(), judged, GOOD_NEW)


class Database:
    """A database whose rows of mshost change as servers write them."""

    def __init__(self, writes: set[int], interval: str = "1500") -> None:
        self.writes, self.interval, self.looks = writes, interval, 0

    def rows(self, statement: str) -> list[dict[str, Any]]:
        self.looks += 1
        return [
            {"id": number, "gone": number == 3, "age": 0, "beat": str(self.looks if number in self.writes else 0)} for number in (1, 2, 3)
        ]

    def value(self, statement: str) -> str:
        return self.interval


def test_rows_are_watched_until_all_are_written_or_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[float] = []
    monkeypatch.setattr("parallel_build.cloudstack.heartbeats.time.monotonic", lambda: sum(passed))
    assert [each["beats"] for each in heartbeats.watch(Database({1, 2, 3}), passed.append)] == [True, True]  # type: ignore[arg-type]
    assert not passed
    assert [each["beats"] for each in heartbeats.watch(Database({2}), passed.append)] == [False, True]  # type: ignore[arg-type]
    assert sum(passed) == 6.0
    passed.clear()
    heartbeats.watch(Database({2}, "10000"), passed.append)  # type: ignore[arg-type]
    assert sum(passed) == 40.0


WRITES = frozenset({"INSERT"})


def uses(*accounts: AccountUse, schemas: tuple[str, ...] = (), clients: tuple[Client, ...] = (), on: str = "olddb1") -> dict[str, Any]:
    """Who else uses a database server."""
    return {on: DatabaseUse(schemas, accounts, clients)}


CLOUD = AccountUse("cloud", "%", WRITES)


@pytest.mark.parametrize(
    ("used", "words"),
    [
        (uses(schemas=("billing",)), "schema billing"),
        (uses(AccountUse("billing", "10.0.0.5", WRITES)), "account billing@10.0.0.5"),
        (uses(AccountUse("billing", "%", frozenset({"A PRIVILEGE OF TOMORROW"})), on="olddb2"), "account billing@%"),
        (
            uses(CLOUD, clients=(Client("cloud", "10.0.0.77", ("10.0.0.77",), "cloud_usage"),)),
            "cloud from 10.0.0.77 in cloud_usage on olddb1",
        ),
        (uses(CLOUD, clients=(Client("cloud", "localhost"),)), "cloud from localhost"),
        (uses(clients=(Client("root", "10.0.0.5"),)), "root from 10.0.0.5"),
    ],
)
def test_others_who_write_block_until_they_are_named(used: dict[str, Any], words: str) -> None:
    old = replace(GOOD_OLD, uses=used)
    with pytest.raises(GuardFailed) as caught:
        world.database_serves_nobody_else(site(), old, GOOD_NEW)
    assert words in caught.value.fact and "original.database.others" in caught.value.remedy
    pair = original()["database"]
    names = ["billing", "cloud@10.0.0.77", "cloud@localhost", "root@10.0.0.5"]
    world.database_serves_nobody_else(site(original={"database": {**pair, "others": names}}), old, GOOD_NEW)
    with pytest.raises(GuardFailed):
        world.database_serves_nobody_else(site(original={"database": {**pair, "others": ["another"]}}), old, GOOD_NEW)


@pytest.mark.parametrize(
    "client",
    [
        Client("cloud", "10.91.0.12"),
        Client("cloud", "198.51.100.11"),
        Client("cloud", "ms1.example.org", ("10.91.0.11",)),
        Client("cloud", "oldms2"),
    ],
)
def test_management_servers_own_sessions_are_nobody_elses(client: Client) -> None:
    old = replace(GOOD_OLD, nodes=NODES, addresses=ADDRESSES, uses=uses(CLOUD, clients=(client,)))
    world.database_serves_nobody_else(site(), old, GOOD_NEW)
    assert not world.notices(site(), old)


def test_the_replicas_own_account_is_known_and_another_replica_is_a_reader() -> None:
    follower = AccountUse("follower", "%", replicates=True)
    own = uses(follower, clients=(Client("follower", "10.91.0.14"), Client("follower", "olddb2")))
    assert not world.notices(site(), replace(GOOD_OLD, uses=own))
    (line,) = world.notices(site(), replace(GOOD_OLD, uses=uses(follower, clients=(Client("follower", "10.0.0.9"),))))
    assert "a session of follower from 10.0.0.9 on olddb1" in line


def test_who_only_reads_is_a_warning() -> None:
    exporter, report = AccountUse("exporter", "localhost"), AccountUse("report", "10.0.0.%")
    old = replace(GOOD_OLD, uses=uses(exporter, report, clients=(Client("exporter", "localhost"),)))
    world.database_serves_nobody_else(site(), old, GOOD_NEW)
    (line,) = world.notices(site(), old)
    assert "account exporter@localhost" in line and "a session of exporter from localhost on olddb1" in line and "report@10.0.0.%" in line
    pair = {**original()["database"], "others": ["exporter", "report@10.0.0.%"]}
    assert not world.notices(site(original={"database": pair}), old)


class Server:
    """A database server that answers by what a statement asks for."""

    def __init__(self, **tables: list[dict[str, Any]]) -> None:
        self.tables, self.host = tables, self

    def run(self, argv: list[str], **_: Any) -> Any:
        return SimpleNamespace(stdout=f"{argv[-1]} STREAM\n")

    def value(self, statement: str) -> str:
        return "10.6.1-MariaDB"

    def rows(self, statement: str) -> list[dict[str, Any]]:
        if "role_edges" in statement:
            raise Refused("no such table", "", "", 1146)
        names = {
            "SCHEMATA": "schemas",
            "USER_PRIVILEGES": "grants",
            "procs_priv": "routines",
            "roles_mapping": "roles",
            "PROCESSLIST": "sessions",
        }
        found = next((kept for word, kept in names.items() if word in statement), "users")
        return self.tables.get(found, [])


def test_what_a_server_reports_on_its_users() -> None:
    server = Server(
        schemas=[{"s": name, "n": n} for name, n in (("cloud", 9), ("mysql", 9), ("test", 0), ("billing", 0), ("sys", 1))],
        users=[
            {"u": user, "h": host}
            for user, host in (
                ("root", "localhost"),
                ("cloud", "%"),
                ("dump", "%"),
                ("caller", "%"),
                ("member", "%"),
                ("team", ""),
                ("crew", ""),
            )
        ],
        grants=[
            {"g": "'cloud'@'%'", "p": "INSERT"},
            {"g": "'dump'@'%'", "p": "select"},
            {"g": "'dump'@'%'", "p": "LOCK TABLES"},
            {"g": "'team'@''", "p": "DELETE"},
        ],
        routines=[{"u": "caller", "h": "%"}],
        roles=[{"u": "member", "h": "%", "ru": "crew", "rh": ""}, {"u": "crew", "h": "", "ru": "team", "rh": ""}],
        sessions=[
            {"u": "root", "h": "localhost", "d": None},
            {"u": "cloud", "h": "10.91.0.11:51234", "d": "cloud"},
            {"u": "cloud", "h": "10.91.0.11:51235", "d": "cloud"},
            {"u": "event_scheduler", "h": "localhost", "d": None},
            {"u": "dump", "h": "2001:db8::5:4711", "d": None},
        ],
    )
    found = database_users.read(server)  # type: ignore[arg-type]
    assert found.schemas == ("billing",)
    assert {str(each): set(each.writes) for each in found.accounts} == {
        "cloud@%": {"INSERT"}, "dump@%": set(), "caller@%": {"EXECUTE"}, "member@%": {"DELETE"},
    }  # fmt: skip
    assert [(each.user, each.host) for each in found.clients] == [("cloud", "10.91.0.11"), ("dump", "2001:db8::5")]


class Ending(Server):
    """A server with a session that ends: its place goes first, its user a moment later."""

    looks = 0

    def execute(self, statement: str) -> None:
        self.looks += 1
        if self.looks == 3:
            self.tables["sessions"] = []


def test_a_session_that_ends_is_none_from_the_server_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = {"sessions": [{"u": "cloud", "h": None, "d": None}, {"u": "system user", "h": "", "d": None}]}
    server = Ending(**ending)
    assert database_users.read(server).clients == () and server.looks == 3  # type: ignore[arg-type]
    monkeypatch.setattr(database_users, "PASSING", 0.0)
    (stays,) = database_users.read(Ending(**ending)).clients  # type: ignore[arg-type]
    assert stays.user == "cloud", "one that stays is reported, wherever it is"


def test_what_only_guards_ask_for_makes_no_step_prove_itself_again() -> None:
    declared = site(original={"frontend": [{"kind": "monit"}], "database": {**original()["database"], "others": ["billing"]}})
    assert relevant(declared.to_json()) == relevant(site().to_json())
    moved = site(original={"database": {**original()["database"], "port": 3307}})
    assert relevant(moved.to_json()) != relevant(site().to_json())


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (
            [{"name": "OldMs1", "state": "Up"}, {"name": "oldms2", "state": "Down"}, {"name": "oldms3", "state": "Maintenance"}],
            ["oldms1", "oldms3"],
        ),
        ([{"state": "Up"}], None),
        ([], []),
        (ApiRefused("listManagementServers was refused", "unknown command", "", 432), None),
    ],
)
def test_which_servers_an_api_lists(listed: Any, found: list[str] | None) -> None:
    def listing(command: str) -> list[dict[str, Any]]:
        if isinstance(listed, Exception):
            raise listed
        return listed  # type: ignore[no-any-return]

    assert original_facts._listed_servers(SimpleNamespace(list=listing)) == found  # type: ignore[arg-type]
