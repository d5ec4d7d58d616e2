"""The servers that a window has changed something on, as its record has them: a rollback works on these, whatever the configuration says by then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pydantic import ValidationError

from parallel_build.configuration import NewMachine, OriginalManagement, Server
from parallel_build.errors import GuardFailed

ORIGINAL, NEW = "original", "new"
MANAGEMENT, DATABASE, USAGE = "management", "database", "usage"
START, STOP = "start", "stop"
REACHED_BY = ("sshHost", "sshPort", "sshUser")


@dataclass(frozen=True)
class Found:
    """A unit as the window found it.

    Attributes:
        active: it ran.
        enabled: it started by itself at boot.
        masked: it could not be started at all.
    """

    active: bool = True
    enabled: bool = True
    masked: bool = False


@dataclass(frozen=True)
class TouchedServer:
    """One of them. Written down before what is done to it.

    Attributes:
        name: in the stack.
        address: where it was reached.
        side: ORIGINAL or NEW.
        role: MANAGEMENT, DATABASE or USAGE.
        also: further roles, where one machine has more than one.
        done: what was begun on it: START, STOP.
        units: its units as they were before the first change, where one was stopped.
        declared: the rest of its section of the configuration, with its host key: how it is reached and what it runs on.
        unknown: fields of a later version, kept as they are.
    """

    name: str
    address: str
    side: str
    role: str
    done: tuple[str, ...] = ()
    units: Mapping[str, Found] = field(default_factory=dict)
    declared: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """All of them."""
        return (self.role, *self.also)

    @classmethod
    def of(
        cls,
        server: Server,
        side: str,
        role: str,
        *done: str,
        units: Mapping[str, Found] | None = None,
        host_key: str | None = None,
        also: tuple[str, ...] = (),
    ) -> TouchedServer:
        """A configured server.

        Args:
            host_key: its public host key where the stack has it.
            also: its further roles.
        """
        declared = server.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"name", "address"})
        if host_key:
            declared["hostKey"] = host_key
        return cls(server.name, server.address, side, role, done, units or {}, declared, also=also)

    @classmethod
    def from_document(cls, name: str, document: Any) -> TouchedServer:
        """Read what `document` wrote, of whatever version.

        Raises:
            ValueError: it does not say which server it is.
        """
        if not isinstance(document, dict) or not all(isinstance(document.get(key), str) for key in ("address", "side", "role")):
            raise ValueError(f"server {name} has no address, side or role")
        known = {each.name for each in fields(cls)} - {"unknown"}
        flags = {each.name for each in fields(Found)}
        units = {
            unit: Found(**{flag: bool(value) for flag, value in found.items() if flag in flags})
            for unit, found in document.get("units", {}).items()
        }
        return cls(
            name,
            document["address"],
            document["side"],
            document["role"],
            tuple(document.get("done", ())),
            units,
            dict(document.get("declared", {})),
            {key: value for key, value in document.items() if key not in known},
            tuple(document.get("also", ())),
        )

    def document(self) -> dict[str, Any]:
        """As JSON has it; the name is its key."""
        return {
            **self.unknown,
            "address": self.address,
            "side": self.side,
            "role": self.role,
            "done": list(self.done),
            "units": {
                unit: {"active": found.active, "enabled": found.enabled, "masked": found.masked} for unit, found in self.units.items()
            },
            "declared": dict(self.declared),
            **({"also": list(self.also)} if self.also else {}),
        }

    def merged(self, earlier: TouchedServer | None) -> TouchedServer:
        """With what was known of it before: what a unit was before the first change stays.

        Raises:
            GuardFailed: another server has its name by now.
        """
        if earlier is None:
            return self
        if earlier.address != self.address:
            raise moved(earlier, self.address)
        done = tuple(dict.fromkeys((*earlier.done, *self.done)))
        also = tuple(role for role in dict.fromkeys((*earlier.also, *self.roles)) if role != earlier.role)
        return replace(earlier, done=done, units={**self.units, **earlier.units}, declared=self.declared or earlier.declared, also=also)

    def server(self) -> Server:
        """The server as it was configured; what this version does not know of its section, or does not take, is left out."""
        kind = NewMachine if self.side == NEW else OriginalManagement if self.role == MANAGEMENT else Server
        known = {info.alias or name for name, info in kind.model_fields.items()} - {"hostKey"}
        base = {"name": self.name, "address": self.address}
        try:
            server = kind.model_validate({**{key: value for key, value in self.declared.items() if key in known}, **base})
        except ValidationError:
            server = kind.model_validate({**{key: value for key, value in self.declared.items() if key in REACHED_BY}, **base})
        return server.model_copy(update={"host_key": self.declared.get("hostKey")})


def servers_of(document: Any) -> dict[str, TouchedServer]:
    """The servers of a record's JSON.

    Raises:
        ValueError: they are of another form.
    """
    if not isinstance(document, dict):
        raise ValueError("its servers are of another form")
    return {name: TouchedServer.from_document(name, entry) for name, entry in document.items()}


def moved(server: TouchedServer, address: str) -> GuardFailed:
    """The error for a name that stands for another server by now."""
    return GuardFailed(
        f"{server.name} has the address {address} in the configuration, and had {server.address} when this window touched it ({', '.join(server.done)})",
        "the server at the former address may still run, and could not be fenced or started under this name",
        f"set the address of {server.name} to {server.address} again, and give another server a name of its own; then run the same command again",
    )
