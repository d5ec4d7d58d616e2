"""A cloud with networks and routers in memory: what the waves and a rollback do to it, as CloudStack would take it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import router_networks, systemvms
from parallel_build.cloudstack.api import ApiRefused, JobFailed
from parallel_build.operations import deadline, original_numbers, renew_router, router_minimum, router_waves, user_firewall, users_in
from parallel_build.operations.context import Context
from parallel_build.records.run_folder import now
from parallel_build.records.window import WindowRecord
from parallel_build.resolved_stack import Site
from parallel_build.steps import routers as routers_step
from parallel_build.steps import switched
from tests.fast.memory_records import Records
from tests.fast.sites import site

OLD, NEW = "4.20.2", "4.22.0"
CODE = {OLD: ("4.20.3.0", "scripts of 4.20"), NEW: ("4.22.1.0", "scripts of 4.22")}  # of a router that was started with it
Items = list[dict[str, Any]]
Names = list[str]


class Cut(BaseException):
    """The operator's machine died here."""


@dataclass
class Net:
    """A network, or a VPC.

    Attributes:
        routers: id -> release.
    """

    number: int
    kind: str = "network"
    state: str = "Implemented"
    zone: str = "z1"
    closed: str | None = None
    redundant: bool = False
    routers: dict[str, str] = field(default_factory=dict)
    running: bool = True
    tiers: int = 1

    @property
    def uuid(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def name(self) -> str:
        return f"net{self.number:04}"


class RouterCloud:
    """Both the API and the database of one side.

    Args:
        release: that new routers get.
    Attributes:
        bad: networks whose restart fails.
        restarted: uuids, in order.
        least: the fewest running routers that a redundant network ever had.
        cut: before this call everything ends; -1 never.
    """

    def __init__(self, nets: list[Net], release: str = NEW) -> None:
        self.nets = {net.uuid: net for net in nets}
        self.release = release
        self.ids = itertools.count(900)
        for net in nets:
            if not net.routers and net.state == "Implemented":
                net.routers = {str(next(self.ids)): OLD for _ in range(2 if net.redundant else 1)}
        self.bad: set[str] = set()
        self.users: Sequence[int] = []  # numbers of networks in which users work
        self.refused_calls: Sequence[str] = []  # what jobs of users were called with that wait or have failed
        self.jobs: Items = []  # restarts under way, as async_job has them
        self.settings = {renew_router.ROLLING: "true"}
        self.zone_values: dict[str, str] = {}
        self.reset_leaves = ""  # what CloudStack leaves of a zone's own value after a reset
        self.restarted: Names = []
        self.calls: Names = []
        self.least = 9
        self.cut = -1
        self.refused = 0
        self.code: dict[str, tuple[str, str]] = {}  # what a router reports of its software and scripts, by id
        self.not_patched: set[str] = set()  # networks whose patch fails, which is only logged
        self.own_scripts = ""  # of the management server
        self.old_agents: set[str] = set()  # networks on hosts whose agent has the scripts of before
        self.mixed_up, self.answers_after = 0, 0.0  # questions that two threads asked one session at the same moment

    # The API.
    def list(self, command: str, **where: str) -> Items:
        if command != "listRouters":
            return [{"id": "zone-1", "name": "z1"}] if command == "listZones" else []
        if "projectid" in where:
            return []
        wanted = where.get("networkid") or where.get("vpcid")
        return [item for net in self.nets.values() if wanted in (None, net.uuid) for item in self._items(net)]

    def _items(self, net: Net) -> Items:
        key = {"vpcid": net.uuid} if net.kind == "vpc" else {"guestnetworkid": net.uuid}
        return [
            {
                "id": identity, "name": f"r-{identity}-VM", "state": "Running" if net.running else "Stopped", "version": release,
                "requiresupgrade": release != NEW, "hostname": "esx1", "redundantstate": "MASTER" if place else "BACKUP", **key,
                **dict(zip(("softwareversion", "scriptsversion"), self.code.get(identity, CODE[release]), strict=True)),
            }
            for place, (identity, release) in enumerate(net.routers.items())
        ]  # fmt: skip

    def call(self, command: str, **parameters: str) -> dict[str, Any]:
        if command == "listConfigurations":
            name = parameters["name"]
            return {"configuration": [{"name": name, "value": self.settings[name]}]} if name in self.settings else {}
        if command == "updateConfiguration":
            self.zone_values["1"] = parameters["value"]
        if command == "resetConfiguration":
            self.zone_values.pop("1", None)
            self.zone_values |= {"1": self.reset_leaves} if self.reset_leaves else {}
        return {}

    def job(self, command: str, **parameters: Any) -> dict[str, Any]:
        if len(self.calls) == self.cut:
            self.cut = -1
            raise Cut(command)
        identity = parameters["id"]
        self.calls.append(f"{command} {identity}")
        if command == "destroyRouter":
            net = next(net for net in self.nets.values() if identity in net.routers)
            del net.routers[identity]
            self._count(net)
            return {}
        net = self.nets[identity]
        assert command == ("restartVPC" if net.kind == "vpc" else "restartNetwork")
        if net.state not in ("Implemented", "Setup", "Enabled"):
            raise ApiRefused(f"refused {command}", "Network is not in the right state to be restarted", "", 431)
        if net.closed:
            net.routers = {}  # without network.rolling.restart the old one goes first
            raise JobFailed(f"{command} failed in the cloud", "Unable to find a place for a router: the zone is disabled", "")
        if identity in self.bad:
            raise JobFailed(f"{command} failed in the cloud", f"no capacity for {net.name}", "")
        count = 2 if net.redundant else 1
        if parameters.get("livepatch") == "true":
            assert parameters["cleanup"] == "false", "cleanup turns the patch off"
            self._patch(net)
            self.restarted.append(identity)
            return {}
        if parameters["cleanup"] == "true":
            net.routers = {}
            if not net.redundant or self.settings.get(renew_router.ROLLING) != "true":
                self._count(net)
        while len(net.routers) < count:
            net.routers[str(next(self.ids))] = self.release
        net.running = True
        self.restarted.append(identity)
        return {}

    def _patch(self, net: Net) -> None:
        """A call that succeeds whatever has become of the patch."""
        if net.uuid in self.not_patched or not net.tiers:
            return
        for identity, release in net.routers.items():
            scripts = self.code.get(identity, CODE[release])[1] if net.uuid in self.old_agents else CODE[NEW][1]
            self.code[identity] = (CODE[NEW][0], scripts)

    def await_job(self, command: str, job_id: str, **_: Any) -> dict[str, Any]:
        self.calls.append(f"await {job_id}")
        net = self.nets[job_id]
        net.routers = {str(next(self.ids)): self.release}
        return {}

    def _count(self, net: Net) -> None:
        if net.redundant:
            self.least = min(self.least, len(net.routers))

    # The database.
    def rows(self, statement: str, values: Any = None) -> Items:
        for kind, query in router_networks.QUERIES.items():
            if statement == query:
                return [
                    {
                        "id": net.number, "uuid": net.uuid, "name": net.name, "state": net.state, "zone": net.zone, "closed": net.closed, "domain": "/",
                        "account": "a", "redundant": net.redundant, "tiers": net.tiers,
                    }
                    for net in self.nets.values() if net.kind == kind
                ]  # fmt: skip
        if statement == router_networks.TEMPLATES or "v.uuid IN" in statement:
            return [
                {"uuid": identity, "template": "t", "template_version": release}
                for net in self.nets.values()
                for identity, release in net.routers.items()
            ]
        if statement == router_networks.UNDER_WAY:
            return self.jobs
        if statement in router_networks.WANTED:
            return [{"network": number, "vpc": None} for number in self.users]
        if statement == router_networks.CALLED_WITH:
            return [{"info": text} for text in self.refused_calls]
        if "FROM cloud.user_ip_address WHERE uuid IN" in statement:
            return [{"network": int(str(uuid).rsplit("-", 1)[-1]), "vpc": None} for uuid in values]
        if any(statement.startswith(query.partition("(")[0]) for query in router_networks.NAMED):
            return []
        if statement == router_minimum.OWN:
            return [{"dc_id": int(zone), "value": value} for zone, value in self.zone_values.items()]
        if "FROM cloud.data_center" in statement:
            return [{"id": 1, "uuid": "zone-1"}]
        if "DISTINCT v.data_center_id" in statement:
            return [
                {"zone": 1, "version": f"Cloudstack Release {release} Tue"}
                for net in self.nets.values()
                for release in net.routers.values()
            ]
        raise AssertionError(statement)

    def value(self, statement: str, values: Any = None) -> Any:
        if statement == router_networks.REFUSED:
            return self.refused
        return NEW if "minreq" in statement or statement == router_minimum.GLOBAL else 1

    def execute(self, statement: str, values: Any = None) -> int:
        if statement.startswith("DELETE"):
            self.zone_values.pop(str(values[0]), None)
        else:
            self.zone_values[str(values[0])] = str(values[2])
        return 1


class Run:
    """A window in which users are in, and one operator's machine.

    Attributes:
        reported: progress.
        admitted: how often the barrier was opened.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cloud: RouterCloud, *, users: bool = True, **changes: Any) -> None:
        self.site: Site = site(**changes)
        self.cloud = cloud
        self.record = WindowRecord("test", self.site.identity, opened=now(), switched=now(), steps=["Window", "Routers"])
        self.record.facts = {"UsersIn": {"point": "accepted", "at": now()}} if users else {}
        self.records = Records(self.record, self.site)
        self.reported: list[str] = []
        self.admitted = 0
        self._arrange(monkeypatch)

    def context(self) -> Context:
        journal = SimpleNamespace(record=lambda *_, **__: None, log=lambda *_: None, keep=lambda *_: None)
        return Context(self.site, SimpleNamespace(host=lambda _: None), journal, CancelToken(), self.reported.append, "Routers")  # type: ignore[arg-type]

    def facts(self) -> dict[str, Any]:
        return dict(self.record.facts.get("Routers", {}))

    def _arrange(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (router_waves, users_in, routers_step, router_minimum, deadline, switched):
            monkeypatch.setattr(module, "store", lambda _: self.records)
        factory: Any = SimpleNamespace(new=lambda *_: self.cloud)
        for module in (router_waves, router_minimum):
            monkeypatch.setattr(module, "Cloud", factory)
            monkeypatch.setattr(module, "new_database", lambda _: None)
        monkeypatch.setattr(router_waves, "OpenSession", lambda *_: _Session(self.cloud))
        monkeypatch.setattr(router_minimum, "session", lambda _: _Opened(self.cloud))
        monkeypatch.setattr(original_numbers, "note", lambda _: None)
        monkeypatch.setattr(systemvms, "own_scripts", lambda *_: self.cloud.own_scripts)
        monkeypatch.setattr(renew_router, "hosts_away", lambda _: list)
        for limit in ("PROVED_WITHIN", "PATCH_PROVED_WITHIN"):
            monkeypatch.setattr(renew_router, limit, 0.0)
        monkeypatch.setattr(routers_step, "ensure_running", lambda _: None)
        monkeypatch.setattr(routers_step, "renew_later", lambda _: [])
        monkeypatch.setattr(user_firewall, "admit_on_new", self._admit)

    def _admit(self, _: Context) -> None:
        self.admitted += 1


class _Session:
    """A database session: it answers one question at a time, as PyMySQL's does."""

    def __init__(self, cloud: RouterCloud) -> None:
        self.cloud, self.lock = cloud, threading.Lock()

    def __call__(self) -> _Session:
        return self

    def rows(self, statement: str, values: Any = None) -> Items:
        if not self.lock.acquire(blocking=False):
            self.cloud.mixed_up += 1
            return []
        try:
            time.sleep(self.cloud.answers_after)
            return self.cloud.rows(statement, values)
        finally:
            self.lock.release()

    def value(self, statement: str, values: Any = None) -> Any:
        return self.cloud.value(statement, values)


@dataclass
class _Opened:
    cloud: Any

    def __enter__(self) -> Any:
        return self.cloud

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


def apply(run: Run) -> tuple[dict[str, Any], str]:
    """The step's apply: its evidence, and what is left for later."""
    context = run.context()
    return routers_step.Routers().apply(context), context.pending
