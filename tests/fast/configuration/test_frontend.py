"""`original.frontend` is refused before anything is contacted where it contradicts itself or the rest of the stack."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.configuration import load
from parallel_build.configuration.frontend import KINDS, MOVERS
from parallel_build.errors import ConfigurationError
from parallel_build.facts.cluster_managers import MANAGERS
from parallel_build.provider.relevance import for_undo, relevant
from tests.fast.sites import site, values

HOSTS = [{"name": "front1", "address": "10.91.0.61"}, {"name": "front2", "address": "10.91.0.62"}]
COMMANDS = {"close": ["turn", "closed"], "toNew": ["turn", "new"], "toOriginal": ["turn", "original"]}
DOOR: dict[str, Any] = {"kind": "haproxy", "address": "10.91.0.60", "movedBy": "keepalived", "hosts": HOSTS, **COMMANDS}
WITHOUT_COMMANDS = {key: value for key, value in DOOR.items() if key not in COMMANDS}


def declared(*doors: dict[str, Any], **changes: Any) -> Any:
    """A stack with these fronts."""
    given = values(**changes)
    given["original"]["frontend"] = list(doors)
    return load(given, "test")


def without(*keys: str) -> dict[str, Any]:
    """The front without some of its keys."""
    return {key: value for key, value in DOOR.items() if key not in keys}


def test_a_complete_declaration_is_taken() -> None:
    door = declared(DOOR).original.frontend[0]
    assert door.turned and door.stands_before == "users" and door.title == "haproxy at 10.91.0.60"
    assert declared(WITHOUT_COMMANDS).original.frontend[0].turned is False
    assert declared({"kind": "proxysql"}).original.frontend[0].stands_before == "database"
    assert declared({"kind": "haproxy", "before": "database"}).original.frontend[0].stands_before == "database"


def test_a_name_is_one_machine_the_probes_as_well() -> None:
    def probed(name: str, address: str) -> Any:
        server = {"name": name, "address": address}
        return declared(
            DOOR, window={"userAccess": {"method": "firewall", "administrators": ["10.91.0.1/32"], "probe": {"server": server}}}
        )

    assert probed("front1", "10.91.0.61") and probed("users", "10.91.0.200")
    with pytest.raises(ConfigurationError, match=r"the name front1 is that of a host of original.frontend with another address"):
        probed("front1", "10.91.0.200")


@pytest.mark.parametrize(
    ("method", "url", "refused"),
    [
        ("frontend", None, True),
        ("frontend", "http://10.91.0.11:8080/client/api", True),
        ("frontend", "http://10.91.0.60:8080/client/api", False),
        ("frontend", "https://cloud.example.org/client/api", False),
        ("firewall", None, False),
    ],
)
def test_a_probe_that_goes_past_the_front_could_never_show_that_users_are_out(method: str, url: str | None, refused: bool) -> None:
    probe = {"source": "10.91.0.200", **({"url": url} if url else {})}
    administrators = {"administrators": ["10.91.0.1/32"]} if method == "firewall" else {}
    access = {"window": {"userAccess": {"method": method, **administrators, "probe": probe}}}
    if not refused:
        assert declared(DOOR, **access).window.user_access.probe is not None
        return
    with pytest.raises(ConfigurationError, match=r"window\.userAccess\.probe\.url: .* asks the management servers themselves"):
        declared(DOOR, **access)


def test_every_cluster_manager_that_is_looked_for_can_be_declared() -> None:
    assert set(MANAGERS) | {"corosync"} == set(MOVERS) and set(MOVERS) < KINDS


@pytest.mark.parametrize(
    ("door", "words"),
    [
        ({**DOOR, "kind": "haporxy"}, "kind: haporxy is not known"),
        ({**DOOR, "movedBy": "keepalvied"}, "movedBy: keepalvied is not known"),
        ({**DOOR, "movedBy": "haproxy"}, "movedBy: haproxy moves no address"),
        (without("address"), "address: missing, and it is what commands turn"),
        ({"kind": "haproxy", "movedBy": "keepalived"}, "address: missing, and it is what keepalived moves"),
        (without("close"), "close: missing although toNew, toOriginal is given"),
        (without("toNew"), "toNew: missing although close, toOriginal is given"),
        (without("toOriginal"), "toOriginal: missing although close, toNew is given"),
        ({**without("close"), "kind": "proxysql"}, "close: missing although toNew, toOriginal is given"),
        ({**DOOR, "servers": ["gone"]}, "gone is not one of the original's servers"),
        ({**DOOR, "address": "10.91.0.11"}, "10.91.0.11 is the address of oldms1"),
        ({**DOOR, "address": "10.91.0.41"}, "10.91.0.41 is the address of newms1"),
        ({**DOOR, "address": "10.91.0.61"}, "10.91.0.61 of haproxy is the address of its host front1, and keepalived moves it"),
        ({**without("movedBy"), "address": "10.91.0.61"}, "is the address of its host front1, and it has more hosts than that"),
        ({**DOOR, "hosts": HOSTS[:1]}, "front1 alone is named for haproxy"),
        ({**without("hosts"), "servers": ["olddb1"]}, "olddb1 alone is named for haproxy"),
        ({**DOOR, "hosts": [*HOSTS, {"name": "oldms1", "address": "10.91.0.11"}]}, "name it in servers instead"),
        ({**DOOR, "hosts": [*HOSTS, {"name": "other", "address": "10.91.0.12"}]}, "host other (10.91.0.12) is oldms2 of this stack"),
        ({**DOOR, "hosts": [*HOSTS, {"name": "front1", "address": "10.91.0.63"}]}, "the name front1 is used twice"),
        ({**without("hosts"), "servers": ["oldms1", "oldms2"]}, "set window.userAccess.method to frontend"),
    ],
)
def test_what_contradicts_is_refused_with_its_key(door: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        declared(door)
    assert words in str(caught.value) and "original.frontend" in str(caught.value)


def test_the_tool_does_not_ask_through_a_door_that_it_closes() -> None:
    given = values()
    given["original"] |= {"frontend": [DOOR], "api": {"url": "http://10.91.0.60:8080/client/api"}}
    with pytest.raises(ConfigurationError, match=r"original\.api\.url: asks through 10\.91\.0\.60, which haproxy closes"):
        load(given, "test")
    given["original"]["frontend"] = [WITHOUT_COMMANDS]
    load(given, "test")


def test_one_door_is_written_once() -> None:
    with pytest.raises(ConfigurationError, match=r"haproxy at 10\.91\.0\.60 before users is there twice"):
        declared(DOOR, {**DOOR, "movedBy": None, "hosts": []})
    declared(DOOR, {**DOOR, "before": "database"})


def test_the_method_frontend_needs_a_front_that_is_turned() -> None:
    access = {"window": {"userAccess": {"method": "frontend"}}}
    assert declared(DOOR, **access).window.user_access.administrators == []
    inside = {**without("hosts"), "servers": ["oldms1", "oldms2"]}
    assert declared(inside, **access).original.frontend[0].servers == ["oldms1", "oldms2"]
    for doors in ([], [WITHOUT_COMMANDS], [{**DOOR, "before": "database"}]):
        with pytest.raises(
            ConfigurationError, match=r"window\.userAccess\.method: frontend lets users out by the commands of original\.frontend"
        ):
            declared(*doors, **access)


def test_what_a_state_holds_is_read_whatever_a_later_version_asks_for() -> None:
    given = values()
    given["original"]["frontend"] = [{"kind": "homegrown"}, {"kind": "haproxy", "close": ["turn", "closed"]}]
    with pytest.raises(ConfigurationError):
        load(given, "test")
    assert [door.kind for door in load(given, "test", stored=True).original.frontend] == ["homegrown", "haproxy"]


def test_a_change_of_it_makes_no_step_prove_itself_again_and_an_undo_takes_the_newest() -> None:
    plain, turned = site(), site(original={"frontend": [DOOR]})
    assert relevant(plain.to_json()) == relevant(turned.to_json())
    assert for_undo(plain, turned).configuration.original.frontend == turned.configuration.original.frontend


@pytest.mark.parametrize("written", ["[2001:db8::60]", "[2001:DB8:0::60]", "[2001:db8:0:0:0:0:0:60]"])
def test_an_api_behind_the_front_is_refused_however_its_address_is_written(written: str) -> None:
    door = {**DOOR, "address": "2001:db8::60"}
    api = {"original": {"api": {"url": f"http://{written}:8080/client/api"}}, "window": {"userAccess": {"method": "frontend"}}}
    with pytest.raises(ConfigurationError, match=r"original\.api\.url: asks through 2001:db8::60, which haproxy closes"):
        declared(door, **api)
