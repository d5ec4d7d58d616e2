"""`scripts/chaos`: the fault matrix of the window on a lab of containers.

Every step of the window is hit in its middle by every fault, forward and on the way back; SIGKILLs also at each step's first and last
instant. After a fault only the documented commands are run: `pulumi cancel` where a lock was left, and the same `pulumi up` again, once power,
network or disk space are back. Each way ends with a proof: exactly one side serves, nothing acknowledged is lost, the original is as it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lab import stack
from lab.chaos import cells
from lab.chaos.cells import Cell
from lab.chaos.journey import FAILED, PASSED, Journey, Outcome, sound
from lab.errors import LabError
from lab.files import Lab
from lab.progress import say
from parallel_build.errors import ParallelBuildError
from parallel_build.machines import namespace
from parallel_build.machines.commands import PROJECT

# A lab's hosts and system VMs are there in seconds; a fault that keeps one away shall not cost ten minutes.
LIMITS = {"window.hostsTimeout": "90s", "window.systemVmTimeout": "90s", "window.startTimeout": "2m"}
UP_LIMIT = 900.0
JOURNEY_LIMIT = 5400.0


def main(words: list[str] | None = None) -> int:
    """0 when every cell passed."""
    arguments = _parser().parse_args(words)
    try:
        wanted = _wanted(arguments)
        if arguments.list:
            for cell in wanted:
                print(f"{cell.name}{'   = ' + cell.same_as if cell.same_as else ''}")
            return 0
        if arguments.journey:
            return _journey(Lab(arguments.name), wanted, arguments.json)
        return _journeys(arguments, wanted)
    except (ParallelBuildError, LabError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; --resume leaves out what has passed", file=sys.stderr)
        return 1


def _wanted(arguments: argparse.Namespace) -> list[Cell]:
    if arguments.cell:
        return [Cell.parse(text) for text in arguments.cell]
    if arguments.sample:
        return cells.sample(arguments.sample, arguments.seed)
    return [*cells.matrix(), *cells.instants()]


def _journeys(arguments: argparse.Namespace, wanted: list[Cell]) -> int:
    """Each journey in a process of its own: it enters the lab's network, which goes when a broken lab is built again."""
    results: Path = arguments.json or Path(f"chaos-{arguments.name}.jsonl")
    done = {found["cell"] for found in read(results) if found["verdict"] != FAILED} if arguments.resume else set()
    if not arguments.resume:
        results.unlink(missing_ok=True)
    planned = cells.journeys(cell for cell in wanted if cell.name not in done)
    say(f"{len(wanted)} cells, {len(done)} of them done before; {len(planned)} journeys; results in {results}")
    began = time.monotonic()
    for number, journey in enumerate(planned, 1):
        say(f"journey {number} of {len(planned)}: {len(journey)} cells")
        _lab(arguments.name, "up", "--hosts", "containers", "--disks", timeout=UP_LIMIT)
        named = [word for cell in journey for word in ("--cell", cell.name)]
        command = [sys.executable, "-m", "lab.chaos", "--name", arguments.name, "--journey", *named, "--json", str(results)]
        if subprocess.run(command, cwd=PROJECT, timeout=JOURNEY_LIMIT, check=False).returncode not in (0, 3):
            say("the lab is built anew")
            _lab(arguments.name, "down", timeout=UP_LIMIT)
    found = read(results)
    print(table(found, time.monotonic() - began))
    return 0 if all(each["verdict"] != FAILED for each in found) else 1


def _journey(lab: Lab, wanted: list[Cell], results: Path | None) -> int:
    """One journey on a lab that is up: 0 all passed, 3 some failed and the lab is sound, 1 it is not."""
    lab.options()
    namespace.enter(lab.namespace)
    for path, value in LIMITS.items():
        stack.configure(lab, path, value)
    if not sound(lab):
        raise LabError(f"lab {lab.name} is not in phase prepared with a serving original", "", "scripts/lab status")
    failed = []

    def told(outcome: Outcome) -> None:
        print(line(outcome.document()), flush=True)
        if outcome.verdict == FAILED:
            failed.append(outcome)
        if results:
            with results.open("a") as file:
                file.write(json.dumps(outcome.document()) + "\n")

    whole = Journey(lab, wanted, told).run()
    return 1 if not whole else 3 if failed else 0


def read(results: Path) -> list[dict[str, Any]]:
    """The results of a file, the last of each cell."""
    if not results.exists():
        return []
    found = [json.loads(text) for text in results.read_text().splitlines() if text.strip()]
    return list({each["cell"]: each for each in found}.values())


def line(found: dict[str, Any]) -> str:
    """One cell's outcome as a line."""
    causes = f"  {' | '.join(found['causes'])}" if found["causes"] else ""
    return f"{found['verdict']:16} {found['cell']:48} {found['seconds']:6.1f} s  {found['told']}{causes}"


def table(found: list[dict[str, Any]], seconds: float) -> str:
    """What became of all cells, and the causes of those that failed."""
    count = Counter(each["verdict"] for each in found)
    lines = [line(each) for each in found if each["verdict"] == FAILED]
    told = ", ".join(f"{number} {verdict}" for verdict, number in count.most_common())
    made = count[PASSED] + count[FAILED]
    return "\n".join([*lines, f"{len(found)} cells: {told}; {seconds:.0f} s" + (f", {seconds / made:.1f} s a fault" if made else "")])


def _lab(name: str, *words: str, timeout: float) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab", "--name", name, *words],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"`scripts/lab {' '.join(words)}` ended with exit code {done.returncode}", done.stderr.strip()[-600:], "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--name", default="chaos", help="the lab's name (default: chaos); made where it is not there, with a disk a machine"
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every cell: 168, and 96 at first and last instants")
    which.add_argument("--cell", action="append", metavar="STEP:FAULT:DIRECTION[:MOMENT]", help="this cell; may be repeated")
    which.add_argument("--sample", type=int, metavar="N", help="N cells drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--resume", action="store_true", help="leave out cells that have passed by the results file, and append to it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results, one JSON object a line (default: chaos-NAME.jsonl)")
    parser.add_argument("--list", action="store_true", help="only print the cells")
    parser.add_argument("--journey", action="store_true", help="one journey with these cells, on a lab that is up")
    return parser


if __name__ == "__main__":
    sys.exit(main())
