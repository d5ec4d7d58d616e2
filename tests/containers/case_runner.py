"""Runs the folders of tests/cases: many at once on one pair of servers, through a method of transfer, with a check that is not the product's.

A case is a folder of plain files, see tests/cases/README.md. All of a group are made in the original's databases, brought over together,
compared by the product, and then by what the servers' own dump programs print of both sides. A group that fails is cut in halves, and
these again, until the cases that fail are left alone (those that the failure names are tried alone at once): so each has an outcome of its
own, and a hundred that pass take one transfer.
"""

from __future__ import annotations

import difflib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.compare import compare
from parallel_build.database.copy import copy
from parallel_build.database.replicate import seed
from parallel_build.errors import ParallelBuildError
from parallel_build.remote.host import Host
from tests.containers.database_stand import Combination, sql

CASES = Path(__file__).parents[1] / "cases"
SCHEMAS = ["cloud", "cloud_usage"]
PAIRS = ("mariadb to mariadb", "mysql to mysql", "mariadb to mysql")
Method = Literal["dump", "replicate"]
ROUNDS = 3  # rounds of events-while.sql before anything else is done, and at least while it is done
SHOWN = 12  # lines of a difference
FOLDER = "/root/cases"  # on the original's machine
FRESH = (
    "SET SESSION foreign_key_checks = 0; DROP DATABASE IF EXISTS cloud; DROP DATABASE IF EXISTS cloud_usage; "
    "CREATE DATABASE cloud DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci; "
    "CREATE DATABASE cloud_usage DEFAULT CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;"
)
ACCOUNTS = "".join(
    f"CREATE USER IF NOT EXISTS cloud@'{host}' IDENTIFIED BY 'Lab-Password-1'; GRANT ALL ON *.* TO cloud@'{host}';"
    for host in ("localhost", "%")
)
# Each round of each case in a session of its own, as many clients have them. A case stops with its first statement that fails.
WRITER = """
cd {folder}
while [ ! -e stop ]; do
  for file in while-*.sql; do
    [ -e "$file.failed" ] || {client} --default-character-set=utf8mb4 cloud <"$file" 2>"$file.error" || {failed}
  done
  echo >>rounds
  sleep 0.02
done
"""
DUMP = {
    "mariadb": "mariadb-dump --order-by-primary",
    # A schema's dump in MySQL 9 names its gtids and asks for tablespaces, which have nothing to do with what is in it.
    "mysql": "mysqldump --order-by-primary --set-gtid-purged=OFF --no-tablespaces",
}
PRINTED = (
    "--single-transaction --hex-blob --skip-extended-insert --complete-insert --routines --triggers --events --skip-comments "
    "--default-character-set=utf8mb4 --databases cloud cloud_usage"
)


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
        """Words that a refusal must have; none where it is brought over."""
        for name in (f"refuse-{method}-{_file(pair)}.txt", f"refuse-{_file(pair)}.txt", f"refuse-{method}.txt", "refuse.txt"):
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


class Runner:
    """Brings groups of cases over one pair of servers.

    Args:
        servers: the pair; the original's and the new server's databases of CloudStack are dropped and made as needed.
        method: `dump` or `replicate`.
        lenient: what a server refuses of a case's statements is left out, instead of failing the case.
    """

    def __init__(self, servers: Combination, method: Method, *, lenient: bool = False) -> None:
        self.servers, self.method, self.lenient = servers, method, lenient
        self.groups = 0
        sql(servers.source, ACCOUNTS)

    def run(self, some: Sequence[Case]) -> dict[str, str]:
        """The failures of some cases by name; those that must be refused are run alone."""
        refused = [case for case in some if case.refusal(str(self.servers), self.method)]
        failures = self._halve([case for case in some if case not in refused])
        for case in refused:
            failures.update(self._refuse(case))
        return failures

    def _halve(self, group: Sequence[Case]) -> dict[str, str]:
        if not group:
            return {}
        try:
            self.bring_over(group)
        except (CaseFailed, ParallelBuildError) as problem:
            if len(group) == 1:
                return {group[0].name: f"{type(problem).__name__}: {problem}"}
            named = [case for case in group if _names(str(problem), case)]
            if named and len(named) < len(group):
                alone = [self._halve([case]) for case in named]
                rest = self._halve([case for case in group if case not in named])
                return {name: text for found in (*alone, rest) for name, text in found.items()}
            middle = len(group) // 2
            return {**self._halve(group[:middle]), **self._halve(group[middle:])}
        return {}

    def _refuse(self, case: Case) -> dict[str, str]:
        wanted = case.refusal(str(self.servers), self.method)
        try:
            self.bring_over([case])
        except (CaseFailed, ParallelBuildError) as problem:
            lacking = [words for words in wanted if words not in str(problem)]
            return {case.name: f"the refusal does not say {lacking}: {type(problem).__name__}: {problem}"} if lacking else {}
        return {case.name: f"it was brought over, and should have been refused with {wanted}"}

    def bring_over(self, group: Sequence[Case]) -> None:
        """Make some cases, bring them over together and look at the copy.

        Raises:
            CaseFailed: a case's files fail, or the copy is not what the original is.
            ParallelBuildError: the product's own.
        """
        self.groups += 1
        source, target = self.servers.source, self.servers.target
        copy.empty(target, SCHEMAS)
        sql(source, FRESH)
        for case in group:
            _client(source, self.servers.old, case, self.lenient)
        with _Writer(source, self.servers.old, group, self.lenient) as writer:
            writer.rounds(ROUNDS)
            if self.method == "replicate":
                _replicate(source, target, writer)
        if self.method == "dump":
            cancel = CancelToken()
            copy.copy(source, target, SCHEMAS, threads=3, cancel=cancel, progress=_quiet)
            _same(compare.compare(source, target, SCHEMAS, threads=2, cancel=cancel, progress=_quiet))
        independent(self.servers)


def _replicate(source: Host, target: Host, writer: _Writer) -> None:
    cancel = CancelToken()
    seed.seed(source, target, SCHEMAS, threads=3, cancel=cancel, progress=_quiet)
    writer.rounds(1)
    baseline = seed.compare_at_position(source, target, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
    _same(baseline.comparison)
    with seed.Takeover(source, target, SCHEMAS, baseline.position, threads=2, cancel=cancel, progress=_quiet) as takeover:
        writer.rounds(1)
        takeover.advance()
        writer.rounds(1)
        writer.stop()
        takeover.catch_up(timeout=120)
        _same(takeover.compare_changes())
        takeover.promote()


def _same(verdict: compare.Comparison) -> None:
    if not verdict.same:
        raise CaseFailed("the comparison finds: " + "; ".join(str(found) for found in verdict.differences[:SHOWN]))


def _quiet(text: str) -> None:
    del text


def _names(problem: str, case: Case) -> bool:
    """Whether a failure's words name the case or one of its objects."""
    words = "|".join(re.escape(name) for name in (case.name, *case.objects))
    return re.search(rf"(?<![\w-])(?:while-)?(?:{words})(?![\w-])", problem) is not None


def _options(family: str, lenient: bool) -> list[str]:
    return [*(["--commands"] if family == "mysql" else []), *(["--force"] if lenient else [])]


def _client(host: Host, family: str, case: Case, lenient: bool) -> None:
    words = [family, "--default-character-set=utf8mb4", *_options(family, lenient), "cloud"]
    done = host.run(words, input=case.create, timeout=300, ok=None)
    if done.code and not lenient:
        raise CaseFailed(f"{case.name}/create.sql: {done.stderr.strip()[-500:]}")


class _Writer:
    """Runs every case's events-while.sql on the original's machine, over and over."""

    def __init__(self, host: Host, family: str, group: Sequence[Case], lenient: bool) -> None:
        self._host, self._client, self._lenient = host, " ".join([family, *_options(family, lenient)]), lenient
        self._files = {f"while-{case.name}.sql": case.events for case in group if case.events}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> _Writer:
        if self._files:
            self._host.run(["sh", "-c", f"rm -rf {FOLDER}; mkdir {FOLDER}"])
            for name, text in self._files.items():
                self._host.write(f"{FOLDER}/{name}", text + "\n")
            words = ["ssh", *self._host.options(), self._host.destination, "sh", "-s"]
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
            assert self._process.stdin is not None
            with self._process.stdin as into:
                failed = ":" if self._lenient else 'mv "$file.error" "$file.failed"'
                into.write(WRITER.format(folder=FOLDER, client=self._client, failed=failed))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def rounds(self, more: int) -> None:
        """Wait until so many more rounds are done."""
        if self._process is None:
            return
        goal = self._done() + more
        wait_for(f"{more} rounds of events-while.sql", lambda: self._done() >= goal, timeout=120, cancel=CancelToken(), interval=0.1)

    def _done(self) -> int:
        return int(self._host.run(["sh", "-c", f"cat {FOLDER}/rounds 2>/dev/null | wc -l"]).stdout)

    def stop(self) -> None:
        """End after the present round.

        Raises:
            CaseFailed: a statement failed on the original.
        """
        if self._process is None:
            return
        self._host.run(["touch", f"{FOLDER}/stop"])
        self._process.wait(120)
        self._process = None
        failed = self._host.run(["sh", "-c", f"cd {FOLDER}; for f in *.failed; do [ -e $f ] && echo $f: && cat $f; done; true"]).stdout
        if failed.strip() and not self._lenient:
            raise CaseFailed(f"events-while.sql: {failed.strip()[-1000:]}")


def independent(servers: Combination) -> None:
    """What the servers' own dump programs print of both sides must be the same, and what their views answer.

    Raises:
        CaseFailed: it is not; the message has the first lines that differ.
    """
    old, new = (_printed(servers, host, family) for host, family in ((servers.source, servers.old), (servers.target, servers.new)))
    if servers.old != servers.new:
        # Two families print a definition differently: of the definitions, which objects there are must do.
        old, new = ([line for line in lines if line.startswith(("INSERT", "object "))] for lines in (old, new))
    old += _answers(servers.source)
    new += _answers(servers.target)
    if old != new:
        lines = list(difflib.unified_diff(old, new, "original", "copy", n=0, lineterm=""))
        raise CaseFailed("the dumps differ:\n" + "\n".join(line[:300] for line in lines[:SHOWN]))


def _printed(servers: Combination, host: Host, family: str) -> list[str]:
    host.run(["sh", "-c", f"{DUMP[family]} {PRINTED} >/root/printed.sql"], timeout=300)
    raw = (servers.made.machines() / host.name / "root/root/printed.sql").read_bytes().decode("utf-8", "surrogateescape")
    return sorted_rows(raw)


CREATED = re.compile(r"\b(TABLE|VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT)\b (?:IF NOT EXISTS )?(`(?:[^`]|``)+`)")
ENABLES_SANDBOX = "enable the sandbox mode"


def sorted_rows(text: str) -> list[str]:
    """The lines of a dump, the rows of each table sorted, a view without the brackets that servers put differently, and its objects named."""
    lines: list[str] = []
    rows: list[str] = []
    for line in text.splitlines():
        if line.startswith("INSERT INTO"):
            rows.append(line.replace("_binary '", "'"))
            continue
        lines += sorted(rows)
        rows.clear()
        if ENABLES_SANDBOX in line or not line.strip():
            continue
        if re.match(r"^/\*!50001 VIEW ", line):
            line = re.sub(r"[()]", "", line)
        lines.append(line)
        if line.startswith(("CREATE", "/*!50001 VIEW", "/*!50003 CREATE", "/*!50106 CREATE")) and (found := CREATED.search(line)):
            lines.append(f"object {found[1].lower()} {found[2]}")
    return lines + sorted(rows)


def _answers(host: Host) -> list[str]:
    """Every row of every view."""
    asked = (
        "SELECT CONCAT('`', TABLE_SCHEMA, '`.`', REPLACE(TABLE_NAME, '`', '``'), '`') "
        "FROM information_schema.VIEWS WHERE TABLE_SCHEMA LIKE 'cloud%' ORDER BY 1"
    )
    names = sql(host, asked, options=["--raw"]).splitlines()
    found = []
    for name in names:
        found += [f"{name}: {line}" for line in sorted(sql(host, f"SELECT * FROM {name}").splitlines())]
    return found
