"""Guards over what stands before the original."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed
from parallel_build.facts import front_places
from parallel_build.facts.cluster_managers import ClusterManager
from parallel_build.facts.database_users import Client, DatabaseUse
from parallel_build.facts.front_places import FrontMachine
from parallel_build.guards import frontend, world
from tests.fast.configuration.test_frontend import COMMANDS, DOOR, WITHOUT_COMMANDS
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.local_host import LocalHost
from tests.fast.sites import VALUES, site

HOLDS, RESTS = (
    FrontMachine(addresses=("10.91.0.61", "10.91.0.60"), movers=("keepalived",)),
    FrontMachine(addresses=("10.91.0.62",), movers=("keepalived",)),
)
GOOD = {"front1": HOLDS, "front2": RESTS}


def asked_by(url: str | None) -> dict[str, Any]:
    """`window` with a user who asks at an address."""
    probe = {"source": "10.91.0.200", **({"url": url} if url else {})}
    return {"userAccess": {**VALUES["window"]["userAccess"], "probe": probe}}


def refused(fronts: dict[str, FrontMachine], door: dict[str, Any] = DOOR, **changes: Any) -> str:
    """What the guards say; "" where they hold."""
    here, old = site(original={"frontend": [door]}, **changes), replace(GOOD_OLD, fronts=fronts)
    for guard in (frontend.fronts_can_be_turned, frontend.front_addresses_are_held_once):
        try:
            guard(here, old, GOOD_NEW)
        except GuardFailed as error:
            return f"{error.fact} | {error.remedy}"
    return ""


def test_machines_that_answer_and_one_that_has_the_address_hold() -> None:
    assert refused(GOOD) == "" and refused({"front1": RESTS, "front2": HOLDS}) == ""


@pytest.mark.parametrize(
    ("fronts", "words"),
    [
        ({"front1": HOLDS}, "front2 (haproxy at 10.91.0.60) can't be asked: it was not asked"),
        ({**GOOD, "front2": FrontMachine(problem="front2 can't be reached")}, "can't be asked: front2 can't be reached"),
        ({**GOOD, "front2": replace(RESTS, missing=("turn",))}, "front2 (haproxy at 10.91.0.60) has no turn"),
        ({"front1": HOLDS, "front2": HOLDS}, "10.91.0.60 of haproxy is held by front1 and front2 at the same time"),
        ({"front1": RESTS, "front2": RESTS}, "10.91.0.60 of haproxy is held by none of front1, front2"),
    ],
)
def test_what_could_not_be_turned_or_is_not_there_blocks(fronts: dict[str, FrontMachine], words: str) -> None:
    assert words in refused(fronts)


def test_a_machine_that_is_off_for_good_is_not_asked() -> None:
    off = {"window": {**VALUES["window"], "confirmedDown": ["front2"]}}
    assert refused({"front1": HOLDS}, **off) == ""


def test_without_commands_only_the_address_counts() -> None:
    silent = {"front1": RESTS, "front2": FrontMachine(problem="it can't be reached")}
    assert refused(silent, WITHOUT_COMMANDS) == "", "whoever can't be asked may have it"
    assert "held by none" in refused({"front1": RESTS, "front2": RESTS}, WITHOUT_COMMANDS)
    assert refused({}, {"kind": "haproxy", "address": "10.91.0.60"}) == ""


def test_commands_of_this_machine_are_looked_for_here() -> None:
    commands = {"close": ["sh"], "toNew": ["true"], "toOriginal": ["no-such-program"]}
    here = site(original={"frontend": [{"kind": "f5", "address": "10.91.0.60", **commands}]})
    found = front_places.read(here.configuration, connections=None)  # type: ignore[arg-type]
    assert found == {"this machine": FrontMachine(missing=("no-such-program",))}
    assert "this machine (f5 at 10.91.0.60) has no no-such-program" in refused(found, {"kind": "f5", "address": "10.91.0.60", **commands})


def test_a_machine_is_asked_for_its_addresses_the_programs_and_what_moves_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("ip", "echo '2: eth0    inet 10.91.0.61/24 brd x'; echo '2: eth0    inet6 2001:db8::61/64 scope'"),
                       ("systemctl", '[ "$*" = "is-active --quiet keepalived" ]')):  # fmt: skip
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    plain = tmp_path / "not-executable"
    plain.write_text("")
    programs = ["sh", "no-such-program", str(tmp_path / "ip"), str(plain), str(tmp_path / "gone"), str(tmp_path)]
    printed = front_places.look(LocalHost(), programs, ["mover=keepalived/keepalived", "mover=pacemaker/pacemaker"])
    assert front_places.parse(printed) == FrontMachine(
        "", ("10.91.0.61", "2001:db8::61"), ("no-such-program", str(plain), str(tmp_path / "gone"), str(tmp_path)), ("keepalived",)
    )


def test_addresses_that_can_not_be_read_are_not_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without `ip` has its address all the same."""
    (tmp_path / "ip").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(CommandFailed):
        front_places.look(LocalHost(), [], [])


def test_a_machine_that_can_not_be_asked_is_a_fact_and_no_error() -> None:
    class Lost:
        def host(self, server: Any) -> Any:
            raise ConnectionFailed(f"{server.name} can't be reached", "it is off", "switch it on")

    found = front_places.read(site(original={"frontend": [DOOR]}).configuration, Lost())  # type: ignore[arg-type]
    assert set(found) == {"front1", "front2"} and "front1 can't be reached" in found["front1"].problem


def test_what_moves_the_address_on_one_machine_alone_is_a_warning() -> None:
    here = site(original={"frontend": [DOOR]}, window=asked_by("http://10.91.0.60:8080/client/api"))
    assert frontend.notices(here, replace(GOOD_OLD, fronts=GOOD)) == []
    lame = replace(GOOD_OLD, fronts={**GOOD, "front2": replace(RESTS, movers=())})
    assert frontend.notices(here, lame) == ["warning: keepalived does not run on front2: 10.91.0.60 would not move there"]


@pytest.mark.parametrize(
    ("door", "url", "warned"),
    [
        (DOOR, "http://10.91.0.60:8080/client/api", False),
        (DOOR, "https://cloud.example.org/client/api", False),
        ({**DOOR, "address": "2001:db8::60"}, "http://[2001:db8:0::60]:8080/client/api", False),
        (DOOR, "http://10.91.0.11:8080/client/api", True),
        (DOOR, None, True),
        (WITHOUT_COMMANDS, None, False),
    ],
)
def test_commands_whose_effect_nobody_asks_for_are_a_warning(door: dict[str, Any], url: str | None, warned: bool) -> None:
    here = site(original={"frontend": [door]}, window=asked_by(url))
    assert len(frontend.not_proved(here)) == warned
    assert (
        not warned or "haproxy at 10.91.0.60 is turned by commands, and no user's call is made through it" in frontend.not_proved(here)[0]
    )


def test_without_a_probe_nobody_asks() -> None:
    assert len(frontend.not_proved(site(original={"frontend": [DOOR]}))) == 1


def test_an_address_that_nothing_moves_may_be_on_several_machines() -> None:
    anycast = {key: value for key, value in DOOR.items() if key != "movedBy"}
    assert refused({"front1": HOLDS, "front2": HOLDS}, anycast) == ""
    assert "held by none" in refused({"front1": RESTS, "front2": RESTS}, anycast)


def test_a_proxy_before_the_database_that_nobody_closes_is_a_warning() -> None:
    proxy = {"kind": "proxysql", "address": "10.91.0.70"}
    assert (
        "proxysql at 10.91.0.70 stands before the original's database and has no command `close`"
        in frontend.left_open(site(original={"frontend": [proxy]}))[0]
    )
    closed = {**proxy, "close": ["hostgroup", "closed"], "toOriginal": ["hostgroup", "original"]}
    assert frontend.left_open(site(original={"frontend": [closed]})) == []
    serves = {"frontend": [proxy], "database": {**VALUES["original"]["database"], "others": ["billing"]}}
    assert frontend.left_open(site(original=serves)) == [], "the servers keep running for those who come through it"


def test_what_moves_a_declared_address_on_the_originals_servers_is_declared_with_it() -> None:
    inside = {**DOOR, "hosts": [], "servers": ["oldms1", "oldms2"]}
    method = {"window": {"userAccess": {"method": "frontend"}}}
    moves = ClusterManager("keepalived", addresses=("10.91.0.60",))

    def judged(*managers: ClusterManager, on: str = "oldms1", door: dict[str, Any] = inside) -> str:
        try:
            world.nobody_else_starts_the_servers(
                site(original={"frontend": [door]}, **method), replace(GOOD_OLD, managers={on: list(managers)}), GOOD_NEW
            )
        except GuardFailed as error:
            return error.fact
        return ""

    assert judged(moves) == ""
    assert "keepalived on olddb1 moves 10.91.0.60" in judged(moves, on="olddb1"), "it is not named there"
    assert "moves 10.91.0.60" in judged(moves, door={**inside, "movedBy": "ucarp"})
    assert "starts and stops mysql" in judged(replace(moves, units=("mysql",))), "to move an address is not to start a server"
    assert "moves 10.91.0.11" in judged(replace(moves, addresses=("10.91.0.60", "10.91.0.11")))


def test_sessions_from_a_proxys_own_machine_are_cloudstacks() -> None:
    proxy = {"kind": "proxysql", "address": "10.91.0.70", "hosts": [{"name": "sql1", "address": "10.91.0.71"}], **COMMANDS}
    use = {"olddb1": DatabaseUse(clients=(Client("cloud", "10.91.0.71"),))}
    old = replace(GOOD_OLD, uses=use)
    world.database_serves_nobody_else(site(original={"frontend": [proxy]}), old, GOOD_NEW)
    with pytest.raises(GuardFailed, match="a session of cloud"):
        world.database_serves_nobody_else(site(original={"frontend": [{**proxy, "before": "users"}]}), old, GOOD_NEW)
