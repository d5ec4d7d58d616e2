"""The window: its limits, how users are kept out, what is run on hypervisors, and what must hold at its end."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from parallel_build.configuration.api import api_url
from parallel_build.configuration.server import Server
from parallel_build.configuration.values import (
    Duration,
    Model,
    ServerPath,
)


class UserProbe(Model):
    """From where it is proved that users are out, and in again: one of `server` and `source`.

    Attributes:
        server: a machine in the users' network that the tool may log in to; it needs curl.
        source: an address of this machine that is a user's to the cloud: none of `administrators`.
        url: the API's address as users have it, such as a load balancer's; None asks every management server itself.
    """

    server: Server | None = None
    source: str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _one(self) -> UserProbe:
        if (self.server is None) == (self.source is None):
            raise ValueError("a probe asks from a server or from a source address: name one of them")
        if self.source is not None:
            try:
                ipaddress.ip_address(self.source)
            except ValueError:
                raise ValueError(f"source: {self.source!r} is not an address such as 192.0.2.10") from None
        return self

    @field_validator("url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return value if value is None else api_url(value)


class UserAccess(Model):
    """How users are kept out during the window.

    Attributes:
        method: `firewall` on the original's management servers, `cidr` by `api.allowed.source.cidr.list`, `frontend` by the commands of
            `original.frontend` alone, or `command` for a load balancer that one command opens for either side.
        administrators: networks that keep access.
        close: command that takes users out (method `command`), run on this machine.
        open: command that lets them in again.
        probe: from where both are proved; without it only the means are looked at.
    """

    method: Literal["firewall", "cidr", "command", "frontend"] = "firewall"
    administrators: list[str] = Field(default_factory=list)
    close: list[str] = Field(default_factory=list)
    open: list[str] = Field(default_factory=list)
    probe: UserProbe | None = None

    @model_validator(mode="after")
    def _complete(self) -> UserAccess:
        for network in self.administrators:
            try:
                found = ipaddress.ip_network(network)
            except ValueError:
                raise ValueError(f"administrators: {network!r} is not a network such as 192.0.2.0/24") from None
            if found.prefixlen == 0:
                raise ValueError(f"administrators: {network} is everybody; name the networks that keep access")
        if self.method == "command" and not (self.close and self.open):
            raise ValueError("method command needs both close and open, each a list of words")
        if self.method not in ("command", "frontend") and not self.administrators:
            raise ValueError(f"method {self.method} needs administrators, or nobody could work in the window")
        address = self.probe and (self.probe.source or (self.probe.server.address if self.probe.server else None))
        if address and any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in self.administrators):
            raise ValueError(f"probe: {address} is an administrator's, what it reaches says nothing about users")
        return self


SwitchedStepName = Literal[
    "UserAccess",
    "Drain",
    "OriginalManagement",
    "Agents",
    "DatabaseTransfer",
    "OriginalDatabase",
    "DumpFile",
    "HostSetting",
    "HypervisorSteps",
    "FirstManagement",
    "Hypervisors",
    "SystemVms",
    "Acceptance",
    "AdditionalManagement",
    "Routers",
]


class DumpFile(Model):
    """A cold copy of the stopped original's data folder: one compressed file with its checksum.

    Attributes:
        server: where it goes; a server that the stack names already is named with the same name and address.
        folder: there; on a volume that is not the original's data volume.
        read_back: start a throw-away database server on it there, and have its rows counted.
    """

    server: Server
    folder: ServerPath
    read_back: bool = False


class Window(Model):
    """The cutover's limits.

    Attributes:
        deadline: time from the window's opening within which the new management server must start.
        rollback_window: time since the switch within which going back is allowed.
        force_rollback: go back although the rollback window has passed or the stack is retired.
        start_timeout: time limit of one management server start, schema upgrade included.
        hosts_timeout: time limit for every hypervisor host to be Up again.
        system_vm_timeout: time limit for one system VM or network restart.
        parallel_restarts: networks restarted at the same time, in the waves and in a rollback.
        users_in: when users are let in: `accepted` after the system VMs and the acceptance tests, or `first` as soon as the first new server answers and
            its hosts are connected. It is settled with the switch: a later change does nothing.
        accept_zones: zones whose system VMs must be renewed before users are in; those of the others follow after that.
        drain: how long jobs and objects in transition are waited for, once users are out.
        drain_then: what follows when they have not ended by then: users in again (`back`), or what still runs is cut off and listed (`cut`).
        old_addresses: what the original's addresses tell users after the switch: where the cloud is now (`moved`), or nothing (`closed`).
        stop_before: a hold point: this step and those after it are not declared; None for the whole switch.
        dump_file: where a cold copy of the original's data folder is kept, taken once the original is down; None for none.
        forensics: what is kept of the new side, in the run's folder, when it is left again: its logs and state (`logs`), a dump as well where its upgrade has
            failed (`failed`), or always (`dump`), or nothing.
        confirmed_down: management and database servers of either side that the operator has switched off himself, where nothing
            else can prove that they are down; also such a server that this window has touched and that is not configured any more.
        adopt: identity of a window that another state opened, to continue or roll it back with this one; `recover --adopt` sets it.
        confirmed_removed: instance names of system VMs and routers of an earlier window's new side that the operator has removed from hypervisors that
            can't be asked from here.
    """

    deadline: Duration = timedelta(hours=2)
    rollback_window: Duration = timedelta(days=1)
    force_rollback: bool = False
    start_timeout: Duration = timedelta(hours=1)
    hosts_timeout: Duration = timedelta(minutes=15)
    system_vm_timeout: Duration = timedelta(minutes=15)
    parallel_restarts: int = Field(default=4, ge=1, le=64)
    users_in: Literal["accepted", "first"] = "accepted"
    accept_zones: Literal["all"] | list[str] = "all"
    drain: Duration = timedelta(minutes=10)
    drain_then: Literal["back", "cut"] = "back"
    old_addresses: Literal["moved", "closed"] = "moved"
    stop_before: SwitchedStepName | None = None
    dump_file: DumpFile | None = None
    forensics: Literal["failed", "logs", "dump", "none"] = "failed"
    confirmed_down: list[str] = Field(default_factory=list)
    adopt: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")] | None = None
    confirmed_removed: list[str] = Field(default_factory=list)
    user_access: UserAccess

    @field_validator("confirmed_down", "confirmed_removed", mode="before")
    @classmethod
    def _without_gaps(cls, value: object) -> object:
        """`pulumi config set --path 'window.confirmedDown[1]'` fills the places before it with null."""
        return [name for name in value if name is not None] if isinstance(value, list) else value


class HypervisorCommand(Model):
    """A hypervisor-specific command of the official upgrade guide, with its reverse; run on each of `hosts` (names of original.hypervisors).

    Attributes:
        at_once: on all hosts at the same time, instead of one after the other in the order of the list.
    """

    hosts: list[str] = Field(min_length=1)
    command: list[str] = Field(min_length=1)
    reverse: list[str] = Field(default_factory=list)
    timeout: Duration = timedelta(minutes=10)
    at_once: bool = False


class Acceptance(Model):
    """Functional tests of the new side: commands on this machine that must end with exit code 0.

    Attributes:
        needs_system_vms: they use system VMs, such as a template's download or a console.
    """

    commands: list[list[str]] = Field(default_factory=list)
    timeout: Duration = timedelta(hours=1)
    needs_system_vms: bool = False
