"""How long users are out, and how long the router waves take after that, with different numbers of networks in use.

One lab of containers a size, transfer by replication. What counts is the time that users are out less what no tool can take away: the old servers' stop,
the new server's start with its schema upgrade, and the hosts' own reconnection; with `accepted` the system VMs' own time as well. Each size is measured
several times, and its median counts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import client_calls
from bench.timed import Journal, agents_up, back
from lab import network, stack
from lab.errors import LabError
from lab.files import Lab
from lab.progress import say, until
from parallel_build.configuration import Phase
from parallel_build.machines.container import namespace
from parallel_build.project import PROJECT

ORDERS = ("first", "accepted")
OVERHEAD_LIMIT = 5.0  # seconds that users may be out beyond the clouds' own times
SPREAD_LIMIT = 1.0  # seconds between the sizes
FIGURES = "figures: "  # a line that begins so is for the process that began this one

Entries = Sequence[Mapping[str, Any]]
Run = dict[str, Any]


def own_times(entries: Entries, order: str) -> dict[str, float]:
    """The seconds that are the clouds' own, by the entries of a journal.

    Args:
        order: `first` or `accepted`, the point at which users were let in.
    """

    def moment(kind: str, step: str, action: str = "") -> float:
        return next(
            float(each["at"])
            for each in entries
            if (each["kind"], each.get("step")) == (kind, step) and (not action or each.get("action") == action)
        )

    ends = {each["step"]: float(each["seconds"]) for each in entries if each["kind"] == "end"}
    own = {
        "old stop": ends["OriginalManagement"] + ends["OriginalDatabase"],
        "new start and schema upgrade": moment("end", "FirstManagement") - moment("intent", "FirstManagement", "start"),
        # With `first` the same step lets users in, which is not the hosts' time.
        "hosts": moment("intent", "Hypervisors", "users in on the new side") - moment("begin", "Hypervisors")
        if order == "first"
        else ends["Hypervisors"],
    }
    if order == "accepted":
        own["system VMs"] = ends["SystemVms"]
    return {name: round(seconds, 2) for name, seconds in own.items()}


def measure(lab: Lab, order: str, calls: int) -> Run:
    """One switch and one rollback of a lab in phase prepared.

    Args:
        calls: how many calls of users go through the window; none is none.
    """
    stack.configure(lab, "transfer.method", "replicate")
    stack.configure(lab, "window.usersIn", order)
    stack.set_phase(lab, Phase.PREPARED)
    stack.up(lab)
    journal, evidence = Journal(lab), lab.folder / "runs" / stack.STACK / "evidence"
    stack.set_phase(lab, Phase.SWITCHED)
    with client_calls.asking(lab, calls) as asked:
        stack.up(lab)
    entries = journal.entries()
    times = json.loads((evidence / "users-out.json").read_text())["times"][-1]
    waves = json.loads((evidence / "Routers.json").read_text())["result"]
    own = own_times(entries, order)
    return {
        "users out": round(times["seconds"], 2),
        "own": own,
        "overhead": round(times["seconds"] - sum(own.values()), 2),
        "waves": next(each["seconds"] for each in entries if each["kind"] == "end" and each["step"] == "Routers"),
        "renewed": waves["renewed"],
        "left": waves["left"],
        "load": [round(each, 1) for each in os.getloadavg()],
        **({"calls": asked.document(times["in"])} if calls else {}),
        "back": back(lab, "back")["seconds"],
    }


def medians(runs: Sequence[Run]) -> Run:
    """What stands for several runs of one size."""
    found: Run = {key: round(statistics.median(run[key] for run in runs), 2) for key in ("users out", "overhead", "waves", "back")}
    found["own"] = {key: round(statistics.median(run["own"][key] for run in runs), 2) for key in runs[0]["own"]}
    return found | {"renewed": min(run["renewed"] for run in runs), "left": max(run["left"] for run in runs), "runs": len(runs)}


def missed(found: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[str]:
    """Which limits did not hold, in words.

    Args:
        found: the runs, by order and number of networks.
    """
    wrong: list[str] = []
    for order, sizes in found.items():
        over = {size: medians(runs)["overhead"] for size, runs in sizes.items()}
        wrong += [
            f"{order}, {size} networks: {seconds:.1f} s of overhead, the limit is {OVERHEAD_LIMIT:.0f} s"
            for size, seconds in over.items()
            if seconds > OVERHEAD_LIMIT
        ]
        spread = max(over.values()) - min(over.values())
        if spread > SPREAD_LIMIT:
            wrong.append(f"{order}: {spread:.1f} s apart between the sizes, the limit is {SPREAD_LIMIT:.0f} s")
        for size, runs in sizes.items():
            wrong += [f"{order}, {size} networks: {words}" for run in runs if "calls" in run for words in client_calls.missed(run["calls"])]
            left = medians(runs)["left"]
            wrong += [f"{order}, {size} networks: {left} routers were not renewed"] if left else []
    return wrong


def table(found: Mapping[str, Mapping[int, Sequence[Run]]]) -> str:
    """The medians next to each other."""
    lines = [f"{'users in':>9}{'networks':>9}{'runs':>5}{'users out':>12}{'own':>9}{'overhead':>10}{'waves':>10}{'renewed':>9}{'back':>9}"]
    for order, sizes in found.items():
        for size, runs in sizes.items():
            each = medians(runs)
            own = each["users out"] - each["overhead"]
            lines.append(
                f"{order:>9}{size:>9}{each['runs']:>5}{each['users out']:>10.1f} s{own:>7.1f} s{each['overhead']:>8.1f} s"
                f"{each['waves']:>8.1f} s{each['renewed']:>9}{each['back']:>7.1f} s"
            )
    return "\n".join(lines)


def run(name: str, sizes: Sequence[int], orders: Sequence[str], times: int, calls: int, target: Path | None) -> int:
    """Measure every size; 0 when the limits hold, 1 when not. The file is written again after each run, so that one that is ended leaves what it had."""
    found: dict[str, dict[int, list[Run]]] = {}
    for size in sizes:
        for order, each in _one_size(name, size, orders, times, calls):
            found.setdefault(order, {}).setdefault(size, []).append(each)
            if target:
                _write(target, found)
    print(table(found))
    wrong = missed(found)
    print("\n".join(wrong) or "the limits hold")
    return 1 if wrong else 0


def _write(target: Path, found: Mapping[str, Mapping[int, Sequence[Run]]]) -> None:
    figures = {
        order: {size: {"median": medians(runs), "runs": list(runs)} for size, runs in sizes.items()} for order, sizes in found.items()
    }
    limits = {"overhead": OVERHEAD_LIMIT, "between the sizes": SPREAD_LIMIT}
    target.write_text(json.dumps({"cores": os.cpu_count(), "limits": limits, "figures": figures, "missed": missed(found)}, indent=1) + "\n")


def _one_size(name: str, size: int, orders: Sequence[str], times: int, calls: int) -> Iterator[tuple[str, Run]]:
    """The runs of one size, as they come, from a process of its own: it enters its lab's network."""
    words = [f"{name}-{size}", str(size), ",".join(orders), str(times), str(calls)]
    with subprocess.Popen([sys.executable, "-m", "bench.outage", *words], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith(FIGURES):
                entry = json.loads(line.removeprefix(FIGURES))
                yield entry["order"], entry["run"]
            else:
                print(line, end="", file=sys.stderr, flush=True)
    if child.returncode:
        raise LabError(f"the measurement with {size} networks ended with exit code {child.returncode}", "see above", "run it again")


def main(words: Sequence[str]) -> int:
    """One size; each run's figures are a line of their own."""
    name, size, orders, times, calls = words
    lab = Lab(name)
    made = ["up", "--hosts", "containers", "--rows", "200", "--networks", size]
    subprocess.run([sys.executable, "-m", "lab", "--name", lab.name, *made], cwd=PROJECT, check=True, stdout=sys.stderr)
    if not network.exists(lab):
        raise LabError(f"lab {lab.name} does not run", "", "scripts/lab up")
    namespace.enter(lab.namespace)
    for number in range(int(times)):
        for order in orders.split(","):
            say(f"{size} networks, users in: {order}, run {number + 1} of {times}")
            found = measure(lab, order, int(calls))
            until("agents on the original", lambda: agents_up(lab), timeout=120)
            print(FIGURES + json.dumps({"order": order, "run": found}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
