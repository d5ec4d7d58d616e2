"""The report of a replay: for the terminal without secrets, and for the operator alone with the passwords that are used once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parallel_build import private_file
from parallel_build.cloudstack.created import Created, by_kind
from parallel_build.cloudstack.created_kinds import VMS
from parallel_build.errors import ConfigurationError
from parallel_build.replay.run import NOT, REPLAYED, THERE, TO_REPLAY, Line
from parallel_build.secret import Secret, remember
from parallel_build.workload.choices import Item
from parallel_build.workload.requests import password

FILE = "after-rollback.json"
MARKS = {REPLAYED: "+", THERE: "=", TO_REPLAY: "+", NOT: "-"}


class SecretFile:
    """Passwords and secret keys of users that are created again, in the run's folder, for the operator alone; written before they are used.

    Args:
        opened: when the window opened: what is there of another rollback is kept apart.
    """

    def __init__(self, folder: Path, opened: str) -> None:
        self.path, self._opened = folder / FILE, opened
        self._document = self._read()
        self._own: dict[str, dict[str, Any]] = self._document.setdefault(opened, {"users": {}, "apiKeys": {}})
        remember([Secret(text) for text in self._own["users"].values()])
        remember([Secret(str(keys["secretkey"])) for keys in self._own["apiKeys"].values()])

    def password(self, user: Created) -> str:
        """A user's password, the same each time; in the file before it is used."""
        name = f"{user.domain}{user.name}"
        if name not in self._own["users"]:
            self._own["users"][name] = password()
            self._write()
        found: str = self._own["users"][name]
        remember([Secret(found)])
        return found

    def keys(self, user: Created, keys: Item) -> None:
        """A user's new API keys."""
        secret = str(keys.get("secretkey", ""))
        self._own["apiKeys"][f"{user.domain}{user.name}"] = {"old": user.text("apiKey"), "apikey": keys.get("apikey"), "secretkey": secret}
        remember([Secret(secret)])
        self._write()

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text())
            return {str(opened): {"users": dict(of["users"]), "apiKeys": dict(of["apiKeys"])} for opened, of in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"{self.path} can't be read",
                f"it is not what `after-rollback` writes ({type(error).__name__})",
                "move it away: it has passwords of users that were created before",
            ) from None

    def _write(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            private_file.replace(self.path, json.dumps(self._document, indent=1))
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} can't be written", os.strerror(error.errno or 0), "make the run folder writable"
            ) from None


def document(lines: Sequence[Line], unknown: Mapping[str, str]) -> dict[str, Any]:
    """For programs; no secret is in it."""
    objects = [
        {**line.each.document(), "owner": line.each.owner, "verdict": line.verdict, "id": line.id, "why": line.why, "remove": line.remove,
         "old": line.old, "new": line.new}
        for line in lines
    ]  # fmt: skip
    return {"objects": objects, "unknown": dict(unknown)}


def text(lines: Sequence[Line], unknown: Mapping[str, str]) -> str:
    """For people: each object by kind, with its owner, its hypervisor's name for it, and what becomes of it."""
    of = {line.each.key: line for line in lines}
    parts: list[str] = []
    for kind, objects in by_kind(line.each for line in lines).items():
        parts.append(f"{kind}: {len(objects)}")
        parts += [f"  {_line(of[each.key])}" for each in objects]
    removals = [(line, line.remove) for line in lines if line.remove]
    if removals:
        parts.append("Only on hypervisors. Once nobody needs their disks any more, remove them there:")
        parts += [f"  {_place(line)}{command}" for line, command in removals]
    parts += [f"not known: {kind}: {why}" for kind, why in unknown.items()]
    return "\n".join([*parts, summary(lines)])


def summary(lines: Sequence[Line]) -> str:
    """How many of each."""
    verdicts = [line.verdict for line in lines]
    counted = [f"{verdicts.count(verdict)} {verdict}" for verdict in (REPLAYED, TO_REPLAY, THERE, NOT) if verdict in verdicts]
    return ", ".join(counted) or "users created nothing on the new side"


def _line(line: Line) -> str:
    each = line.each
    words = [f"{MARKS[line.verdict]} {each.name}"]
    if each.owner:
        words.append(f"of {each.owner}" if each.account or each.kind != "domains" else "")
    native = each.text("native")
    if native or each.text("hypervisor"):
        host = f" on {each.text('host')}" if each.kind == VMS and each.text("host") else ""
        words.append(f"({', '.join(filter(None, (each.text('hypervisor'), native)))}{host})")
    if line.old:
        words.append(f"new side: {line.old}; original: {line.new or ('a new one' if line.verdict == TO_REPLAY else 'none')}")
    return " ".join(filter(None, words)) + f": {line.verdict}" + (f": {line.why}" if line.why else "")


def _place(line: Line) -> str:
    return f"{line.each.text('host')}: " if line.each.text("host") else ""
