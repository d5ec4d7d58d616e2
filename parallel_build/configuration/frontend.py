"""What stands before the original's servers: who has its address, who moves it, and the operator's own commands that turn it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from parallel_build.configuration.server import Server
from parallel_build.configuration.values import STORED, Duration, IpAddress, Model

# What starts, stops or moves by itself; facts.cluster_managers reads what each of them can do.
MOVERS = (
    "corosync", "heartbeat", "keepalived", "maxscale", "mha", "mmm", "monit", "orchestrator", "pacemaker", "patroni", "puppet", "replication-manager",
    "rgmanager", "supervisor", "ucarp", "vip-manager",
)  # fmt: skip
BALANCERS = (
    "apache",
    "avi",
    "caddy",
    "envoy",
    "f5",
    "haproxy",
    "lvs",
    "netscaler",
    "nginx",
    "octavia",
    "pound",
    "relayd",
    "traefik",
    "varnish",
)
DATABASE_PROXIES = ("maxscale", "mysqlrouter", "proxysql")
OTHER = "other"
KINDS = frozenset({*MOVERS, *BALANCERS, *DATABASE_PROXIES, OTHER})

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,62}$")]
Stands = Literal["users", "database"]
Command = list[Annotated[str, Field(min_length=1)]]


class Frontend(Model):
    """What stands before the original's servers, or starts and stops them, and is not this tool's.

    Attributes:
        kind: what it is: pacemaker, keepalived, monit, haproxy, proxysql ... (`other` for what has no name here).
        servers: names of the original's servers that it runs on; without these and `hosts` it may be all of them.
        hosts: machines of its own that it runs on.
        address: the address that it moves between them, or that it listens at.
        moved_by: what moves the address between its machines, such as keepalived.
        before: what it stands before; without it `database` for kinds that know nothing else, `users` for all others.
        close: command that lets nobody through; run when users are let out or, before the database, when the original's management servers are down.
        to_new: command that leads to the new side; run when users are let in there.
        to_original: command that leads to the original again, from either; run in a rollback.
        timeout: time limit of one of these commands.
    """

    kind: Kind
    servers: list[str] = Field(default_factory=list)
    hosts: list[Server] = Field(default_factory=list)
    address: IpAddress | None = None
    moved_by: Kind | None = None
    before: Stands | None = None
    close: Command = Field(default_factory=list)
    to_new: Command = Field(default_factory=list)
    to_original: Command = Field(default_factory=list)
    timeout: Duration = timedelta(minutes=1)

    @property
    def turned(self) -> bool:
        """Whether a window turns it."""
        return bool(self.close or self.to_new or self.to_original)

    @property
    def stands_before(self) -> Stands:
        """What it stands before."""
        return self.before or ("database" if self.kind in DATABASE_PROXIES else "users")

    @property
    def title(self) -> str:
        """`haproxy at 192.0.2.5`."""
        return f"{self.kind} at {self.address}" if self.address else self.kind

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> Frontend:
        if info.context == STORED:  # an undo needs what was written, whatever a later version asks for
            return self
        for key, kind in (("kind", self.kind), ("movedBy", self.moved_by)):
            if kind is not None and kind not in KINDS:
                raise ValueError(f"{key}: {kind} is not known; it is one of {', '.join(sorted(KINDS))}")
        if self.moved_by is not None and self.moved_by not in MOVERS:
            raise ValueError(f"movedBy: {self.moved_by} moves no address; it is one of {', '.join(MOVERS)}, or leave it out")
        if self.address is None and (self.turned or self.moved_by):
            raise ValueError(f"address: missing, and it is what {'commands turn' if self.turned else f'{self.moved_by} moves'}; name it")
        given = {"close": self.close, "toNew": self.to_new, "toOriginal": self.to_original}
        needed = ("close", "toNew", "toOriginal") if self.stands_before == "users" else ("close", "toOriginal")
        missing = [name for name in needed if not given[name]]
        if self.turned and missing:
            left = [name for name in given if given[name]]
            raise ValueError(
                f"{', '.join(missing)}: missing although {', '.join(left)} is given: a window closes it, leads it to the new side, and a rollback leads "
                f"it back; give {', '.join(needed)}, each a list of words, or none of them"
            )
        return self
