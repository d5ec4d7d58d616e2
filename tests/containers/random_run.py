"""Brings one drawn database after the other over, for as long as one likes.

`python -m tests.containers.random_run --pair "mariadb to mariadb" --minutes 60 --seed 1 --folder FOLDER` takes `dump` and `replicate` in turn, with
the checks of `case_runner`. Number N of a seed is always the same case, a run continues where the last one in that folder ended, and a case that
failed stays there as a folder with the reason, ready to be looked at and moved to tests/cases.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from parallel_build.errors import ParallelBuildError
from tests.containers.case_files import PAIRS, CaseFailed, Method
from tests.containers.case_runner import Runner
from tests.containers.database_stand import Combination, combination
from tests.containers.random_schema import draw_case


@dataclass
class State:
    """How far a folder's run is; kept in its state.json."""

    seed: int
    done: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0


class RandomRun:
    """The run of one folder.

    Args:
        servers: the pair.
        start: seed.
        folder: where it is kept; an earlier run in it continues.
        say: shows a line.
    """

    def __init__(self, servers: Combination, start: int, folder: Path, say: Callable[[str], None]) -> None:
        self._runners: dict[Method, Runner] = {}
        self._servers, self._folder, self._say = servers, folder, say
        self._kept = folder / "state.json"
        self.state = State(**json.loads(self._kept.read_text())) if self._kept.exists() else State(start)
        if self.state.seed != start:
            raise SystemExit(f"{folder} holds a run of seed {self.state.seed}: give that seed, or another folder")

    def next(self) -> bool:
        """Bring the next case over; whether it came over whole."""
        number, started = self.state.done, time.monotonic()
        method: Method = "replicate" if number % 2 and str(self._servers) in PAIRS[:2] else "dump"
        case = draw_case(number, self.state.seed, self._folder / f"{method}-{number}")
        try:
            self._runner(method).bring_over([case])
        except (CaseFailed, ParallelBuildError) as problem:
            (case.folder / "reason.txt").write_text(f"{type(problem).__name__}: {problem}\n", encoding="utf-8")
            self.state.failed.append(case.name)
            self._say(f"FAILED {case.folder}: {str(problem)[:300]}")
        else:
            shutil.rmtree(case.folder)
        self.state.done += 1
        self.state.seconds = round(self.state.seconds + time.monotonic() - started, 1)
        self._kept.write_text(json.dumps(asdict(self.state), indent=1))
        self._say(f"{self.state.done} cases, {len(self.state.failed)} failed, {self.state.seconds:.0f} s")
        return case.name not in self.state.failed

    def _runner(self, method: Method) -> Runner:
        return self._runners.setdefault(method, Runner(self._servers, method, lenient=True))


def main() -> int:
    """Run until the time is over; 1 where a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=PAIRS, default=PAIRS[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are taken away
    os.nice(max(0, 10 - os.nice(0)))
    folder: Path = options.folder / options.pair.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + options.minutes * 60

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {options.pair}: {text}", flush=True)

    with combination(*options.pair.split(" to ")) as servers:
        made = RandomRun(servers, options.seed, folder, say)
        while time.monotonic() < until:
            made.next()
    return 1 if made.state.failed else 0


if __name__ == "__main__":
    sys.exit(main())
