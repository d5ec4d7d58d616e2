"""`scripts/chaos`: the fault matrix of the window on a lab of containers.

Every step of the window is hit in its middle by every fault, forward and in the rollback; SIGKILLs also at each step's first and last
instant. After a fault only the documented commands are run: `pulumi cancel` where a lock was left, and the same `pulumi up` again, once power,
network or disk space are back. Each way ends with a proof: exactly one side serves, nothing acknowledged is lost, the original is as it was.
A turn (STEP:FAULT:turn, --turns) has its fault on the way there, and then the command `back` instead of the same `pulumi up`.
Three kinds (--kinds) are nobody's to repair: a machine that is lost for good, a stack file that was edited between two steps, a provider that
sleeps while another operator rolls back. What the messages say is done, and either one side serves or a refusal has changed nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from lab import stack
from lab.chaos import cells, results
from lab.chaos.cells import Cell
from lab.chaos.dispatch import ALL_PASSED, SOME_FAILED, Dispatch
from lab.chaos.journey import Journey, Outcome, sound
from lab.chaos.trial import Trial
from lab.chaos.watching import promptly
from lab.errors import LabError
from lab.files import Lab
from lab.progress import say
from parallel_build.errors import ParallelBuildError
from parallel_build.machines.container import namespace

# A lab's hosts and system VMs are there in seconds; a fault that keeps one away shall not cost ten minutes.
LIMITS = {"window.hostsTimeout": "90s", "window.systemVmTimeout": "90s", "window.startTimeout": "2m"}
BROKEN = 1


def main(words: list[str] | None = None) -> int:
    """0 when every cell passed."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if sum(map(bool, (arguments.all, arguments.cell, arguments.sample or arguments.turns or arguments.kinds))) != 1:
        parser.error("say which cells: --all, --cell, or --sample, --turns and --kinds")
    try:
        wanted = cells.shard(_wanted(arguments), arguments.shard)
        if arguments.list:
            print(*(cell.name for cell in wanted), sep="\n")
            return 0
        if arguments.journey:
            return _journey(Lab(arguments.name), wanted, arguments.json)
        return _journeys(arguments, wanted)
    except (ParallelBuildError, LabError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BROKEN
    except KeyboardInterrupt:
        print("interrupted; --resume leaves out what has passed", file=sys.stderr)
        return BROKEN


def _wanted(arguments: argparse.Namespace) -> list[Cell]:
    if arguments.cell:
        return [Cell.parse(text) for text in arguments.cell]
    if arguments.sample or arguments.turns or arguments.kinds:
        seed = arguments.seed
        drawn = [*cells.sample(arguments.sample or 0, seed), *cells.some_turns(arguments.turns or 0, seed)]
        return [*drawn, *cells.some_kinds(arguments.kinds or 0, seed)]
    return [*cells.matrix(), *cells.instants(), *cells.kinds()]


def _journeys(arguments: argparse.Namespace, wanted: list[Cell]) -> int:
    file: Path = arguments.json or Path(f"chaos-{arguments.name}.jsonl")
    if not arguments.resume:
        file.unlink(missing_ok=True)
    done = {name for name, found in results.read(file).items() if found["verdict"] == results.PASSED}
    left = [cell for cell in wanted if cell.name not in done]
    say(f"{len(wanted)} cells, {len(wanted) - len(left)} of them passed before")
    labs = [arguments.name] if arguments.labs == 1 else [f"{arguments.name}-{number}" for number in range(1, arguments.labs + 1)]
    began = time.monotonic()
    try:
        Dispatch(labs, file.resolve(), arguments.transfer).run(left)
    finally:
        found = results.read(file)
        print(results.table(wanted, found, time.monotonic() - began))
    return 0 if all(cell.name in found and found[cell.name]["verdict"] == results.PASSED for cell in wanted) else BROKEN


def _journey(lab: Lab, wanted: list[Cell], file: Path | None) -> int:
    """One journey on a lab that is up."""
    lab.options()
    namespace.enter(lab.namespace)
    for path, value in LIMITS.items():
        stack.configure(lab, path, value)
    if not sound(lab):
        raise LabError(
            f"lab {lab.name} is not in phase prepared with a serving original",
            "every cell begins there",
            f"scripts/lab --name {lab.name} status shows where it stands; `up` in place of `status` brings it there, and `back` where it is switched",
        )
    commit = results.commit()
    passed = []

    def reported(outcome: Outcome) -> None:
        found = {**outcome.document(), "commit": commit}
        print(results.line(found), flush=True)
        passed.append(outcome.verdict == results.PASSED)
        if file:
            results.append(file, found)

    promptly()
    whole = (Trial if wanted[0].fault in cells.KINDS else Journey)(lab, wanted, reported).run()
    return BROKEN if not whole else ALL_PASSED if all(passed) else SOME_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--name", default="chaos", help="the lab's name (default: chaos); made where it is not there, with a disk a machine"
    )
    parser.add_argument(
        "--all", action="store_true", help="every cell: the matrix, first and last instants, and the kinds lost, edited and asleep"
    )
    parser.add_argument(
        "--cell",
        action="append",
        metavar="STEP:FAULT:DIRECTION[:MOMENT]",
        help="this cell; may be repeated; DIRECTION: forward, back, turn",
    )
    parser.add_argument("--sample", type=int, metavar="N", help="N cells drawn at random")
    parser.add_argument("--turns", type=int, metavar="N", choices=range(1, 85), help="N turns drawn at random, of 84")
    parser.add_argument("--kinds", type=int, metavar="N", choices=range(1, 31), help="N of lost, edited and asleep, of each in turn")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="only the Ith of N parts of the cells, such as 2/4")
    parser.add_argument(
        "--transfer", default="dump", choices=("dump", "replicate"), help="how the labs bring the databases over (default: dump)"
    )
    parser.add_argument("--labs", type=int, default=1, choices=range(1, 9), metavar="N", help="side by side on N labs, NAME-1 to NAME-N")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--resume", action="store_true", help="leave out cells that have passed by the results file, and append to it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results, one JSON object a line (default: chaos-NAME.jsonl)")
    parser.add_argument("--list", action="store_true", help="only print the cells")
    parser.add_argument("--journey", action="store_true", help="one journey with these cells, on a lab that is up")
    return parser


if __name__ == "__main__":
    sys.exit(main())
