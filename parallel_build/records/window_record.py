"""The window's record as a type: lenient when it is read, with unknown fields kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from parallel_build.errors import GuardFailed
from parallel_build.records.touched import TouchedServer, servers_of

NAMES_SERVERS = 3  # the first version whose record names the servers that were touched
VERSION = NAMES_SERVERS  # 1 had neither number, token nor revision
# The steps of a window whose record does not name them.
FIRST_STEPS = (
    "Window", "UserAccess", "OriginalManagement", "DatabaseTransfer", "OriginalDatabase", "HostSetting", "HypervisorSteps", "FirstManagement",
    "Hypervisors", "SystemVms", "AdditionalManagement", "Acceptance",
)  # fmt: skip
BACK = "Back"  # under this name the record says how a rollback goes


@dataclass
class WindowRecord:
    """The record of one stack's window.

    Attributes:
        identity: `Site.identity` of the stack that holds the window.
        number: of the opening: one more for each window of this cloud.
        token: number of the run that wrote last; an earlier one writes nothing any more.
        revision: one more with each write.
        version: of this form; a later one adds fields, which are kept.
        facts: what steps remember for their undo, by step.
        servers: every server that something was done to, by name.
        opened, switched, closed, retired: times (ISO 8601, UTC, of the operator's machine: words for people) or None.
        returning: since when a rollback is under way: from then on no step goes forward until the window is closed.
        host_keys: the new machines' public host keys, so that who has lost the state can still reach them.
        steps: the types of the steps that there were when the window opened.
        clock: the host's own clocks at the opening (`HostClock`), by which the deadline is measured.
        switched_clock: the same at the switch, by which the rollback window is measured.
        holders: the hosts that have a copy of this record, each with its machine-id.
    """

    stack: str
    identity: str
    opened: str | None = None
    switched: str | None = None
    closed: str | None = None
    retired: str | None = None
    returning: str | None = None
    holder: str = ""
    clock: dict[str, Any] = field(default_factory=dict)
    switched_clock: dict[str, Any] = field(default_factory=dict)
    host_keys: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    servers: dict[str, TouchedServer] = field(default_factory=dict)
    holders: dict[str, dict[str, str]] = field(default_factory=dict)
    number: int = 0
    token: int = 0
    revision: int = 0
    version: int = VERSION
    steps: list[str] = field(default_factory=lambda: list(FIRST_STEPS))
    unknown: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | bytes) -> WindowRecord:
        """Read a record, of whatever version: fields that are not known here are kept as they are.

        Raises:
            ValueError: it is no record.
        """
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object")
        known = {each.name for each in fields(cls)} - {"unknown"}
        missing = [name for name in ("stack", "identity") if not isinstance(document.get(name), str)]
        if missing:
            raise ValueError(f"it does not say {' and '.join(missing)}")
        given = {name: value for name, value in document.items() if name in known}
        given["servers"] = servers_of(document.get("servers", {}))
        found = cls(**given, unknown={name: value for name, value in document.items() if name not in known})
        if not isinstance(found.facts, dict) or not all(isinstance(each, int) for each in (found.number, found.token, found.revision)):
            raise ValueError("its facts or numbers are of another kind")
        return found

    def to_json(self) -> str:
        """One line of JSON."""
        known = {name: value for name, value in self.__dict__.items() if name != "unknown"}
        known["servers"] = {name: server.document() for name, server in self.servers.items()}
        return json.dumps({**self.unknown, **known}, sort_keys=True)

    @property
    def ahead(self) -> bool:
        """Whether a rollback is under way that is ahead of the state: users may be in on the original already."""
        return bool(self.returning and not self.closed and self.facts.get(BACK, {}).get("ahead"))


def going_back(record: WindowRecord) -> GuardFailed:
    """The error of a step that would go forward while a rollback is under way."""
    return GuardFailed(
        f"a rollback has begun {record.returning}, and has not come to its end",
        "the original may serve already, whatever the state still has of the switch",
        f"finish it: parallel-build back {record.stack}; after that a new window can be opened",
    )
