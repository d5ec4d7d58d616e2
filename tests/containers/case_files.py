"""A case of tests/cases: what is in its folder, and its files on the machine of the original's server, where the server's own client runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from parallel_build.cancel import CancelToken, wait_for
from tests.containers.database_stand import Combination

CASES = Path(__file__).parents[1] / "cases"
PAIRS = ("mariadb to mariadb", "mysql to mysql", "mariadb to mysql")
Method = Literal["dump", "replicate"]
FOLDER = "/root/cases"  # on the original's machine
# A client for each file, as many sessions have them. A case whose statements fail is not run again.
EACH = """
  for file in {pattern}; do
    [ -e "$file.failed" ] || {client} --default-character-set=utf8mb4 cloud <"$file" >/dev/null 2>"$file.error" || {failed}
  done
"""
WRITER = """
  while [ ! -e stop ]; do {each}
    echo >>rounds
    sleep {pause}
  done
"""
MADE = re.compile(
    r"\b(?:TABLE|VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT|SEQUENCE|PACKAGE)(?: IF NOT EXISTS)? (?!IF EXISTS)(?:cloud\.|cloud_usage\.)?"
    r"(?:`((?:[^`]|``)+)`|(\w+))"
)


@dataclass(frozen=True)
class Case:
    """One folder of tests/cases."""

    folder: Path

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.folder.name

    @cached_property
    def create(self) -> str:
        """What makes its objects and rows."""
        return (self.folder / "create.sql").read_text(encoding="utf-8")

    @cached_property
    def events(self) -> str:
        """What writes while it is brought over; empty for nothing."""
        return self._text("events-while.sql")

    @cached_property
    def objects(self) -> frozenset[str]:
        """Names of what its files make."""
        found = MADE.findall(self.create + self.events)
        return frozenset((quoted.replace("``", "`") if quoted else bare) for quoted, bare in found)

    def refusal(self, pair: str, method: Method) -> tuple[str, ...]:
        """Words that the refusal must have; none where it is brought over."""
        return self._words("refuse", pair, method)

    def possible_refusal(self, pair: str, method: Method) -> tuple[str, ...]:
        """Words of which a refusal must have one, where it may be brought over or be refused, as its writes happen to come."""
        return self._words("may-refuse", pair, method)

    def _words(self, what: str, pair: str, method: Method) -> tuple[str, ...]:
        for name in (f"{what}-{method}-{_file(pair)}.txt", f"{what}-{_file(pair)}.txt", f"{what}-{method}.txt", f"{what}.txt"):
            if text := self._text(name):
                return tuple(text.splitlines())
        return ()

    def fits(self, pair: str, method: Method) -> bool:
        """Whether it can be run on these servers and by this method."""
        pairs, methods = self._text("pairs.txt").splitlines(), self._text("methods.txt").split()
        return (not pairs or pair in pairs) and (not methods or method in methods) and (method == "dump" or pair in PAIRS[:2])

    def _text(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    def __str__(self) -> str:
        return self.name


def _file(pair: str) -> str:
    return pair.replace(" ", "-")


def cases() -> list[Case]:
    """All of them, by name."""
    return [Case(path.parent) for path in sorted(CASES.glob("*/create.sql"))]


class CaseFailed(Exception):
    """What a group did not come to, in words."""


class CaseFiles:
    """The cases' files on the original's machine, whose file system this computer sees, and the server's client that runs them."""

    def __init__(self, servers: Combination, group: Sequence[Case], lenient: bool, pause: float) -> None:
        self._host, self._lenient, self._pause = servers.source, lenient, pause
        self._folder = servers.made.machines() / servers.source.name / "root" / FOLDER.strip("/")
        self._client = " ".join([servers.old, *(["--commands"] if servers.old == "mysql" else []), *(["--force"] if lenient else [])])
        self._process: subprocess.Popen[str] | None = None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for case in group:
            (self._folder / f"create-{case.name}.sql").write_text(case.create, encoding="utf-8")
            if case.events:
                (self._folder / f"while-{case.name}.sql").write_text(case.events + "\n", encoding="utf-8")
        self._writes = any(case.events for case in group)

    def _script(self, pattern: str) -> str:
        failed = ":" if self._lenient else 'mv "$file.error" "$file.failed"'
        return EACH.format(pattern=pattern, client=self._client, failed=failed)

    def create(self) -> None:
        """Make every case. Raises CaseFailed for the first ones that fail."""
        self._host.run(["sh", "-s"], input=f"cd {FOLDER}\n{self._script('create-*.sql')}", timeout=600)
        self._raise_failed()

    def __enter__(self) -> CaseFiles:
        if self._writes:
            words = ["ssh", *self._host.options(), self._host.destination, "sh", "-s"]
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
            assert self._process.stdin is not None
            with self._process.stdin as into:
                into.write(f"cd {FOLDER}\n" + WRITER.format(each=self._script("while-*.sql"), pause=self._pause))
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._end(self._process)

    def rounds(self, more: int) -> None:
        """Wait until every case has written so many more rounds."""
        if self._process is None:
            return
        goal = self._done() + more
        wait_for(f"{more} rounds of events-while.sql", lambda: self._done() >= goal, timeout=600, cancel=CancelToken(), interval=0.1)

    def _done(self) -> int:
        path = self._folder / "rounds"
        return path.stat().st_size if path.exists() else 0

    def stop(self) -> None:
        """End after the present round. Raises CaseFailed for what failed on the original meanwhile."""
        if self._process is not None:
            self._end(self._process)
            self._raise_failed()

    def _end(self, process: subprocess.Popen[str]) -> None:
        (self._folder / "stop").touch()
        process.wait(600)
        self._process = None

    def _raise_failed(self) -> None:
        failed = [
            f"{path.name.removesuffix('.failed')}: {path.read_text().strip()[-400:]}" for path in sorted(self._folder.glob("*.failed"))
        ]
        if failed:
            raise CaseFailed("; ".join(failed))
