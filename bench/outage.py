"""How long users are out, and how long the router waves take after that, with different numbers of networks in use.

One lab of containers a size, transfer by replication. What counts is the time that users are out less what no tool can take away: the old servers' stop,
the new server's start with its schema upgrade, and the hosts' own reconnection; with `accepted` the system VMs' own time as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.timed import Journal, agents_up, back
from lab import network, stack
from lab.errors import LabError
from lab.files import Lab
from lab.progress import say, until
from parallel_build.configuration import Phase
from parallel_build.machines.container import namespace
from parallel_build.project import PROJECT

OVERHEAD_LIMIT = 5.0  # seconds that users may be out beyond the clouds' own times
SPREAD_LIMIT = 1.0  # seconds between the sizes
OWN = ("OriginalManagement", "OriginalDatabase", "Hypervisors")


def measure(lab: Lab, order: str) -> dict[str, Any]:
    """One switch and one rollback of a lab in phase prepared."""
    stack.configure(lab, "transfer.method", "replicate")
    stack.configure(lab, "window.usersIn", order)
    stack.set_phase(lab, Phase.PREPARED)
    stack.up(lab)
    journal = Journal(lab)
    stack.set_phase(lab, Phase.SWITCHED)
    stack.up(lab)
    entries = journal.entries()
    ends = {entry["step"]: entry for entry in entries if entry["kind"] == "end"}
    started = next(
        entry["at"] for entry in entries if entry["kind"] == "intent" and entry["step"] == "FirstManagement" and entry["action"] == "start"
    )
    evidence = lab.folder / "runs" / stack.STACK / "evidence"
    out = json.loads((evidence / "users-out.json").read_text())["times"][-1]["seconds"]
    waves = json.loads((evidence / "Routers.json").read_text())["result"]
    own = {step: ends[step]["seconds"] for step in (*OWN, *(("SystemVms",) if order == "accepted" else ()))}
    own["new start and schema upgrade"] = round(ends["FirstManagement"]["at"] - started, 2)
    return {
        "users out": round(out, 2),
        "own": own,
        "overhead": round(out - sum(own.values()), 2),
        "waves": ends["Routers"]["seconds"],
        "renewed": waves["renewed"],
        "left": waves["left"],
        "back": back(lab, "back")["seconds"],
    }


def missed(found: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Which limits did not hold, in words."""
    over = [
        f"{size} networks: {each['overhead']:.1f} s of overhead, the limit is {OVERHEAD_LIMIT:.0f} s"
        for size, each in found.items()
        if each["overhead"] > OVERHEAD_LIMIT
    ]
    spread = max(each["overhead"] for each in found.values()) - min(each["overhead"] for each in found.values())
    return over + ([f"{spread:.1f} s apart between the sizes, the limit is {SPREAD_LIMIT:.0f} s"] if spread > SPREAD_LIMIT else [])


def table(found: Mapping[int, Mapping[str, Any]]) -> str:
    """The figures next to each other."""
    lines = [f"{'networks':>8}{'users out':>12}{'own':>9}{'overhead':>10}{'waves':>9}{'renewed':>9}{'back':>9}"]
    for size, each in found.items():
        own = sum(each["own"].values())
        lines.append(
            f"{size:>8}{each['users out']:>10.1f} s{own:>7.1f} s{each['overhead']:>8.1f} s{each['waves']:>7.1f} s{each['renewed']:>9}{each['back']:>7.1f} s"
        )
    return "\n".join(lines)


def run(name: str, sizes: list[int], order: str, target: Path | None) -> int:
    """Measure every size; 0 when the limits hold, 1 when not."""
    found: dict[int, dict[str, Any]] = {}
    for size in sizes:
        script = [sys.executable, "-m", "bench.outage", f"{name}-{size}", str(size), order]
        done = subprocess.run(script, cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True)
        found[size] = json.loads(done.stdout.strip().splitlines()[-1])
    print(table(found))
    wrong = missed(found)
    print("\n".join(wrong) or "the limits hold")
    if target:
        target.write_text(json.dumps({"order": order, "sizes": found, "missed": wrong}, indent=1) + "\n")
    return 1 if wrong else 0


def main(words: list[str]) -> int:
    """One size, in a process of its own: it enters its lab's network. The figures are the last line, as JSON."""
    name, size, order = words
    lab = Lab(name)
    made = ["up", "--hosts", "containers", "--rows", "200", "--networks", size]
    subprocess.run([sys.executable, "-m", "lab", "--name", lab.name, *made], cwd=PROJECT, check=True, stdout=sys.stderr)
    if not network.exists(lab):
        raise LabError(f"lab {lab.name} does not run", "", "scripts/lab up")
    namespace.enter(lab.namespace)
    say(f"{size} networks, users in: {order}")
    found = measure(lab, order)
    until("agents on the original", lambda: agents_up(lab), timeout=120)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
