"""What the window's benchmarks share: a switch and a rollback of the lab's stack, timed by its journal."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import datetime
from typing import Any

from lab import stack
from lab.errors import LabError
from lab.files import Lab
from lab.machines import OLD_MANAGEMENT, Machine
from lab.original import cloud
from lab.progress import until
from parallel_build.configuration import Phase
from parallel_build.errors import ParallelBuildError

LIMIT = 900.0


def answering(lab: Lab, server: Machine) -> None:
    """Wait until a management server answers a signed call."""

    def answers() -> bool:
        try:
            return bool(cloud(server, lab.secrets()).call("listCapabilities"))
        except ParallelBuildError:
            return False

    until(f"the API of {server.name}", answers, timeout=LIMIT, interval=0.1)


class Journal:
    """The entries that a run's journal has grown by."""

    def __init__(self, lab: Lab) -> None:
        self.path = lab.folder / "runs" / stack.STACK / "journal.jsonl"
        self.offset = self.path.stat().st_size

    def entries(self) -> list[dict[str, Any]]:
        """All of them, with `at`: seconds of the clock."""
        with self.path.open() as file:
            file.seek(self.offset)
            found = [json.loads(text) for text in file]
        for entry in found:
            entry["at"] = datetime.fromisoformat(entry["time"]).timestamp()
        return found


def switch(lab: Lab) -> dict[str, Any]:
    """This project's switch, from users out to the first new server proved good; and what of it is not the clouds' own."""
    journal = Journal(lab)
    stack.set_phase(lab, Phase.SWITCHED)
    whole = time.monotonic()
    stack.up(lab)
    seconds = time.monotonic() - whole
    entries = journal.entries()
    began = next(entry["at"] for entry in entries if entry["kind"] == "begin" and entry["step"] == "UserAccess")
    ends = {entry["step"]: entry for entry in entries if entry["kind"] == "end"}
    window = ends["FirstManagement"]["at"] - began
    started = next(
        entry["at"] for entry in entries if entry["kind"] == "intent" and entry["step"] == "FirstManagement" and entry["action"] == "start"
    )
    own = {
        "old stop": ends["OriginalManagement"]["seconds"] + ends["OriginalDatabase"]["seconds"],
        "new start and schema upgrade": ends["FirstManagement"]["at"] - started,
    }
    return {
        "seconds": round(window, 2),
        "overhead": round(window - sum(own.values()), 2),
        "own": {name: round(value, 2) for name, value in own.items()},
        "parts": {name: entry["seconds"] for name, entry in ends.items()},
        "whole command": round(seconds, 2),
    }


def back(lab: Lab, way: str) -> dict[str, Any]:
    """This project's rollback: from the command to a serving original, and to its end.

    Args:
        way: `back`, the command that has the original serve first, or `up`: phase prepared and `pulumi up`.
    """
    journal = Journal(lab)
    served: list[float] = []
    used = os.times()
    if way == "up":
        stack.set_phase(lab, Phase.PREPARED)
    began = time.monotonic()

    def watch() -> None:
        answering(lab, OLD_MANAGEMENT[0])
        served.append(time.monotonic() - began)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    if way == "up":
        stack.up(lab)
    elif stack.tool(lab, ["back", stack.STACK]) != 0:
        raise LabError("`parallel-build back` failed", "see above", "")
    seconds = time.monotonic() - began
    watcher.join(30)
    after = os.times()
    ends = {entry["step"]: entry["seconds"] for entry in journal.entries() if entry["kind"] == "end"}
    return {
        "seconds": round(served[0], 2),
        "parts": ends,
        "whole command": round(seconds, 2),
        "processor seconds": round(after.children_user + after.children_system - used.children_user - used.children_system, 2),
        "load": [round(each, 1) for each in os.getloadavg()],
    }


def agents_up(lab: Lab) -> bool:
    hosts = cloud(OLD_MANAGEMENT[0], lab.secrets()).list("listHosts", type="Routing")
    return bool(hosts) and all(host.get("state") == "Up" for host in hosts)
