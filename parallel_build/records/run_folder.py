"""What a run leaves behind: the journal, the evidence of each step, and the log.

The run folder is `<runs>/<stack>/`, mode 700, files mode 600. The journal is written *before* a thing is done, one JSON object a line, synced to
disk, so that whoever comes next, also on another machine, knows what may have happened.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parallel_build import private_file
from parallel_build.secret import Secret, mask, masked


def now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


CLOCKS_DIFFER = 3600.0  # seconds


def seconds_since(moment: str) -> float | None:
    """Seconds since a time that `now` gave; None where it can't be read, or is still to come: a clock was wrong then, or is now."""
    try:
        found = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return None
    return found if found > -CLOCKS_DIFFER else None


def operator() -> str:
    """Who runs this, and where: `user@host`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


class RunFolder:
    """The folder of a stack's runs.

    Args:
        root: folder for all stacks.
        stack: the stack's name.
        secrets: masked in everything written.
    """

    def __init__(self, root: Path, stack: str, secrets: list[Secret]) -> None:
        self.path = root / stack
        self._secrets = secrets
        self._lock = threading.Lock()
        (self.path / "evidence").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def record(self, kind: str, **details: Any) -> dict[str, Any]:
        """Append a line to the journal and sync it; return the entry."""
        entry: dict[str, Any] = masked({"time": now(), "operator": operator(), "kind": kind, **details}, self._secrets)
        self._append(self.path / "journal.jsonl", json.dumps(entry, sort_keys=True, default=str))
        return entry

    def log(self, step: str, message: str) -> None:
        """Append a line to the run's log."""
        self._append(self.path / "run.log", f"{now()} {step}: {message}", sync=False)

    def keep(self, step: str, evidence: dict[str, Any]) -> None:
        """Keep a step's evidence as `evidence/<step>.json`, replaced whole."""
        text = json.dumps(masked(evidence, self._secrets), indent=1, sort_keys=True, default=str)
        self._replace(self.path / "evidence" / f"{step}.json", text + "\n")

    def keep_text(self, name: str, text: str) -> None:
        """Keep a report for readers as `evidence/<name>.txt`, replaced whole."""
        self._replace(self.path / "evidence" / f"{name}.txt", text)

    def _replace(self, path: Path, text: str) -> None:
        private_file.replace(path, mask(text, self._secrets))

    def evidence(self, step: str) -> dict[str, Any] | None:
        """A step's kept evidence; None where there is none, or none that can be read: it only shows, and must not keep an undo from its end."""
        try:
            found = json.loads((self.path / "evidence" / f"{step}.json").read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def journal(self) -> Iterator[dict[str, Any]]:
        """The journal's entries, oldest first; a last line torn by a crash is left out."""
        path = self.path / "journal.jsonl"
        if not path.exists():
            return
        for line in path.read_text().splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue

    def _append(self, path: Path, line: str, *, sync: bool = True) -> None:
        data = (mask(line, self._secrets) + "\n").encode()
        with self._lock:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, data)
                if sync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
