"""Networks with their routers: which are old, which are idle, whose router is whose."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.cloudstack.router_networks import domain_path, is_renewed, names, sort, together

NEW, OLD = "4.22.0", "4.20.2"


def row(number: int, state: str = "Implemented", **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "uuid": f"n{number}",
        "name": f"net{number}",
        "state": state,
        "zone": "z1",
        "domain": "/gold/",
        "account": "a",
        "redundant": 0,
    } | more


def router(identity: str, version: str, state: str = "Running", **where: str) -> dict[str, Any]:
    return {"id": identity, "name": f"r-{identity}-VM", "version": version, "state": state, **where}


def found(*routers: dict[str, Any], networks: Any = (), vpcs: Any = ()) -> Any:
    recorded = {str(each["id"]): str(each["version"]) for each in routers}
    return together({"network": networks, "vpc": vpcs}, routers, NEW, recorded)


def test_a_vpc_s_router_belongs_to_the_vpc_alone() -> None:
    (tier, whole) = found(router("1", OLD, vpcid="n9", guestnetworkid="n1"), networks=[row(1)], vpcs=[row(9, "Enabled")])
    assert tier.routers == () and [each["id"] for each in whole.routers] == ["1"] and whole.key == ("vpc", 9)
    result = sort([tier, whole])
    assert result.old == [whole] and result.idle == [], "a tier without a router of its own is nothing of its own"


@pytest.mark.parametrize(
    ("state", "running", "where"),
    [
        ("Implemented", "Running", "old"), ("Setup", "Running", "old"), ("Allocated", "Running", "idle"), ("Implemented", "Stopped", "idle"),
        ("Allocated", "Stopped", "idle"), ("Shutdown", "Running", "idle"), ("Implementing", "Running", "idle"),
    ],
)  # fmt: skip
def test_only_what_is_implemented_and_runs_takes_part(state: str, running: str, where: str) -> None:
    result = sort(found(router("1", OLD, running, guestnetworkid="n1"), networks=[row(1, state)]))
    assert [name for name in ("old", "renewed", "idle") if getattr(result, name)] == [where]


def test_a_network_of_a_disabled_zone_is_left_alone_unless_its_restart_has_cost_it_the_router() -> None:
    rows = [row(1, closed="Disabled", zone="z2"), row(2), row(3, "Allocated", closed="Disabled", zone="z2")]
    old = [router(str(number), OLD, guestnetworkid=f"n{number}") for number in (1, 2, 3)]
    result = sort(found(*old, networks=rows))
    assert [each.number for each in result.old] == [2] and [each.number for each in result.idle] == [1, 3]
    assert result.closed == {"z2 (Disabled)": 1}, "an idle network waits for nothing"
    lost = sort(found(networks=rows), {("network", 1), ("network", 2)})
    assert [each.number for each in lost.old] == [1, 2]


def test_one_old_router_of_a_pair_makes_the_network_old() -> None:
    pair = (router("1", NEW, guestnetworkid="n1"), router("2", OLD, guestnetworkid="n1"))
    assert sort(found(*pair, networks=[row(1)])).old
    assert sort(found(pair[0], networks=[row(1)])).renewed
    stopped = router("2", OLD, "Stopped", guestnetworkid="n1")
    assert sort(found(pair[0], stopped, networks=[row(1)])).renewed, "what does not run gets the new template when it starts"


def test_a_network_whose_restart_was_begun_and_that_has_no_router_is_still_to_be_done() -> None:
    without = found(networks=[row(1), row(2, "Allocated")])
    result = sort(without, {("network", 1), ("network", 2)})
    assert [each.number for each in result.old] == [1]


def test_api_and_database_must_agree() -> None:
    assert is_renewed({"version": NEW}, NEW, f"Cloudstack Release {NEW} Tue")
    assert not is_renewed({"version": OLD}, NEW, f"systemvm-kvm-{NEW}-x86_64"), "an upgrade writes the new template's name"
    assert not is_renewed({"version": NEW}, NEW, "")
    assert not is_renewed({"version": "UNKNOWN"}, NEW, NEW)


@pytest.mark.parametrize(("path", "shown"), [("/", "ROOT"), ("/gold/inner/", "ROOT/gold/inner"), (None, "ROOT")])
def test_a_domain_s_path_is_written_as_cloudstack_shows_it(path: str | None, shown: str) -> None:
    assert domain_path(path) == shown


def test_what_a_configuration_may_name() -> None:
    class Database:
        def rows(self, statement: str) -> list[dict[str, Any]]:
            if "domain" in statement:
                return [{"path": "/"}, {"path": "/gold/"}]
            if "account" in statement:
                return [{"account_name": "a"}]
            return [{"name": "vpc1" if "vpc" in statement else None, "uuid": "u-vpc" if "vpc" in statement else "u-net"}]

    assert names(Database()) == {"networks": ["u-net", "vpc1", "u-vpc"], "domains": ["ROOT", "ROOT/gold"], "accounts": ["a"]}  # type: ignore[arg-type]
