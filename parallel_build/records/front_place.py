"""A place at which a window turns what stands before the original, as the record has it: what was run there, and how it is led back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from parallel_build.configuration import Frontend, Server
from parallel_build.records.touched import ORIGINAL, TouchedServer

FRONT = "front"
CLOSED, NEW_SIDE = "closed", "new"  # where it leads by the window's word; a place that leads to the original is not on record
HERE = "this machine"


@dataclass(frozen=True)
class FrontPlace:
    """One of them.

    Attributes:
        title: what it is, `haproxy at 192.0.2.5`.
        before: what it stands before: users, or database.
        where: the machine that the commands run on; None for the one that this program runs on.
        close, to_new, to_original: the commands; empty where there is none, or where the record must not have it.
        timeout: seconds, of each.
        leads: CLOSED or NEW_SIDE; empty while the window has not turned it.
        done: the command for that has ended well.
        sealed: a command holds a sealed value, so the record does not have the commands.
        unknown: fields of a later version, kept as they are.
    """

    title: str
    before: str
    where: TouchedServer | None
    close: tuple[str, ...]
    to_new: tuple[str, ...]
    to_original: tuple[str, ...]
    timeout: float
    leads: str = ""
    done: bool = False
    sealed: bool = False
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its machine."""
        return self.where.name if self.where else HERE

    @property
    def mark(self) -> str:
        """What tells it from any other: never the place of a door in a list, nor its commands, which an operator may correct."""
        return f"{self.before}/{self.title}/{self.name}"

    @property
    def server(self) -> Server | None:
        """Its machine."""
        return self.where.server() if self.where else None

    @classmethod
    def of(cls, door: Frontend, server: Server | None, host_key: str | None) -> FrontPlace:
        """A configured one."""
        where = TouchedServer.of(server, ORIGINAL, FRONT, host_key=host_key) if server else None
        commands = tuple(door.close), tuple(door.to_new), tuple(door.to_original)
        return cls(door.title, door.stands_before, where, *commands, door.timeout.total_seconds())

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> FrontPlace:
        """Read what `document` wrote, of whatever version."""
        known = {"title", "before", "where", "close", "toNew", "toOriginal", "timeout", "leads", "done", "sealed"}
        where = document.get("where")
        return cls(
            str(document["title"]),
            str(document["before"]),
            TouchedServer.from_document(str(where["name"]), {key: value for key, value in where.items() if key != "name"})
            if where
            else None,
            tuple(document.get("close", ())),
            tuple(document.get("toNew", ())),
            tuple(document.get("toOriginal", ())),
            float(document.get("timeout", 60)),
            str(document.get("leads", "")),
            bool(document.get("done")),
            bool(document.get("sealed")),
            {key: value for key, value in document.items() if key not in known},
        )

    def document(self) -> dict[str, Any]:
        """As JSON has it; commands with a sealed value in them are left out."""
        words = (self.close, self.to_new, self.to_original) if not self.sealed else ((), (), ())
        return {
            **self.unknown,
            "title": self.title,
            "before": self.before,
            "where": {"name": self.where.name, **self.where.document()} if self.where else None,
            **{key: list(command) for key, command in zip(("close", "toNew", "toOriginal"), words, strict=True)},
            "timeout": self.timeout,
            "leads": self.leads,
            "done": self.done,
            "sealed": self.sealed,
        }

    def as_recorded(self, recorded: FrontPlace) -> FrontPlace:
        """With what the window has done there."""
        return replace(self, leads=recorded.leads, done=recorded.done, unknown=recorded.unknown)


def places_of(facts: Mapping[str, Any]) -> dict[str, FrontPlace]:
    """Those on record, by their marks; one that leads to the original again has left None there."""
    return {mark: FrontPlace.from_document(document) for mark, document in facts.items() if document}
