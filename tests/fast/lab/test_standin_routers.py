"""The stand-in's routers: a live patch as the real one does it, which succeeds whatever has become of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab.standin.management import configuration
from lab.standin.management.agents import CommandFailed
from lab.standin.management.api.routers import requires_upgrade
from lab.standin.management.machines import Machines, scripts_checksum, scripts_version
from lab.standin.management.routers import Routers
from lab.standin.shared.release import Version
from lab.standin.shared.settings import Settings

OLD, NEW = "4.20.3.0", "4.22.1.0"


class Cloud:
    """The database of a cloud with one router; tiers of its VPC."""

    def __init__(self, tiers: int = 1) -> None:
        self.tiers = tiers
        self.router: dict[str, Any] = {
            "id": 7, "name": "r-7-VM", "instance_name": "r-7-VM", "uuid": "u", "state": "Running", "host_id": 1, "hypervisor_type": "KVM", "data_center_id": 1,
            "template_version": "Cloudstack Release 4.20.2 Thu", "software_version": OLD, "scripts_version": scripts_checksum(OLD),
        }  # fmt: skip

    def rows(self, statement: str, *_: Any) -> list[dict[str, Any]]:
        return [self.router] if "domain_router" in statement else []

    def row(self, statement: str, *_: Any) -> dict[str, Any] | None:
        return self.router if "domain_router" in statement else None

    def value(self, statement: str, *_: Any) -> Any:
        assert "COUNT(*) FROM networks" in statement
        return self.tiers

    def update(self, table: str, _: int, **values: Any) -> None:
        if table == "domain_router":
            self.router |= values


@pytest.fixture(autouse=True)
def _minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """What CloudStack wants of a router's template."""
    monkeypatch.setattr(configuration, "zone_value", lambda *_: "4.22.0")


def routers(cloud: Cloud, agent: str = NEW, **settings: Any) -> tuple[Routers, Any]:
    """They, and their server; `agent` is the version of the host's package, or empty where it is away."""
    server: Any = SimpleNamespace(cloud=cloud, settings=Settings(restart_seconds=0.0, **settings), version=Version(NEW))

    def execute(host: int, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert (host, command, arguments["name"]) == (1, "patch", "r-7-VM")
        if not agent:
            raise CommandFailed("Host 1 is not connected")
        return {"ok": True, "version": agent}

    return Routers(server, Machines(server, SimpleNamespace(execute=execute))), server  # type: ignore[arg-type]


def restart(found: Routers, **wanted: bool) -> None:
    found.restart_network(
        {"id": 2, "name": "net", "state": "Implemented", "vpc_id": None}, **{"cleanup": False, "livepatch": True, **wanted}
    )


def test_a_patched_router_takes_commands_and_requires_no_upgrade() -> None:
    cloud = Cloud()
    found, server = routers(cloud)
    assert found._is_old(cloud.router) and requires_upgrade(SimpleNamespace(server=server), cloud.router)  # type: ignore[arg-type]
    restart(found)
    assert (cloud.router["software_version"], cloud.router["scripts_version"]) == (NEW, scripts_version(server))
    assert not found._is_old(cloud.router) and not requires_upgrade(SimpleNamespace(server=server), cloud.router)  # type: ignore[arg-type]
    assert "4.20.2" in cloud.router["template_version"]


def test_an_old_agent_has_old_scripts_and_the_software_is_written_down_all_the_same() -> None:
    cloud = Cloud()
    found, _ = routers(cloud, agent=OLD)
    restart(found)
    assert (cloud.router["software_version"], cloud.router["scripts_version"]) == (NEW, scripts_checksum(OLD)) and found._is_old(
        cloud.router
    )


@pytest.mark.parametrize(("agent", "settings"), [("", {}), (NEW, {"live_patch_fails": ["net"]})])
def test_a_patch_that_fails_is_logged_and_the_call_succeeds(caplog: pytest.LogCaptureFixture, agent: str, settings: dict[str, Any]) -> None:
    cloud = Cloud()
    found, _ = routers(cloud, agent, **settings)
    before = dict(cloud.router)
    restart(found)
    assert cloud.router == before and "Failed to live patch router r-7-VM" in caplog.text


@pytest.mark.parametrize(("tiers", "patched"), [(0, False), (2, True)])
def test_a_vpc_is_patched_by_way_of_its_tiers(tiers: int, patched: bool) -> None:
    cloud = Cloud(tiers)
    found, _ = routers(cloud)
    found.restart_vpc({"id": 3, "name": "vpc"}, cleanup=False, livepatch=True)
    assert (cloud.router["software_version"] == NEW) is patched


def test_a_patch_with_cleanup_replaces_the_router(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, replaced = Cloud(), list[str]()
    found, _ = routers(cloud)
    monkeypatch.setattr(found, "_replace", lambda router, _: replaced.append(router["name"]))
    restart(found, cleanup=True)
    assert replaced == ["r-7-VM"] and cloud.router["software_version"] == OLD
