"""Runs the folders of tests/cases: many at once on one pair of servers, through a method of transfer, with a check that is not the product's.

A case is a folder of plain files, see tests/cases/README.md. All of a group are made in the original's databases, brought over together,
compared by the product, and then by what the servers' own dump programs print of both sides. A group that fails is cut in halves, and
these again, until the cases that fail are left alone (those that the failure names are tried alone at once): so each has an outcome of its
own, and a hundred that pass take one transfer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare
from parallel_build.database.copy import copy
from parallel_build.database.replicate import seed
from parallel_build.errors import ParallelBuildError
from parallel_build.remote.host import Host
from tests.containers.case_files import Case, CaseFailed, CaseFiles, Method
from tests.containers.database_stand import Combination, sql
from tests.containers.dump_check import independent

SCHEMAS = ["cloud", "cloud_usage"]
ROUNDS = 3  # rounds of events-while.sql before anything else is done, and at least while it is done
OFTEN, SELDOM = 0.02, 2.0  # seconds between two rounds; whoever changes definitions does not do so all the time
SHOWN = 12  # differences of a comparison
FRESH = (
    "SET SESSION foreign_key_checks = 0; DROP DATABASE IF EXISTS cloud; DROP DATABASE IF EXISTS cloud_usage; "
    "CREATE DATABASE cloud DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci; "
    "CREATE DATABASE cloud_usage DEFAULT CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;"
)
ACCOUNTS = "".join(
    f"CREATE USER IF NOT EXISTS cloud@'{host}' IDENTIFIED BY 'Lab-Password-1'; GRANT ALL ON *.* TO cloud@'{host}';"
    for host in ("localhost", "%")
)


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
        """The failures of some cases by name; those that are refused, or may be, are run alone."""
        pair = str(self.servers)
        alone = [case for case in some if case.refusal(pair, self.method) or case.possible_refusal(pair, self.method)]
        failures = self._halve([case for case in some if case not in alone])
        for case in alone:
            failures.update(self._alone(case))
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

    def _alone(self, case: Case) -> dict[str, str]:
        must, may = case.refusal(str(self.servers), self.method), case.possible_refusal(str(self.servers), self.method)
        try:
            self.bring_over([case], pause=SELDOM)
        except (CaseFailed, ParallelBuildError) as problem:
            lacking = [words for words in must if words not in str(problem)]
            if lacking or (may and not any(words in str(problem) for words in may)):
                return {case.name: f"the refusal has not the words {lacking or may}: {type(problem).__name__}: {problem}"}
            return {}
        return {case.name: f"it was brought over, and should have been refused with {must}"} if must else {}

    def bring_over(self, group: Sequence[Case], *, pause: float = OFTEN) -> None:
        """Make some cases, bring them over together and look at the copy.

        Args:
            pause: seconds between two rounds of their writes.

        Raises:
            CaseFailed: a case's files fail, or the copy is not what the original is.
            ParallelBuildError: the product's own.
        """
        self.groups += 1
        source, target = self.servers.source, self.servers.target
        seed.remove(source, target)  # of a group that failed
        copy.empty(target, SCHEMAS)
        sql(source, FRESH)
        files = CaseFiles(self.servers, group, self.lenient, pause)
        files.create()
        with files as writer:
            writer.rounds(ROUNDS)
            if self.method == "replicate":
                _replicate(source, target, writer)
            writer.stop()
        if self.method == "dump":
            cancel = CancelToken()
            copy.copy(source, target, SCHEMAS, threads=3, cancel=cancel, progress=_quiet)
            _same(compare.compare(source, target, SCHEMAS, threads=2, cancel=cancel, progress=_quiet))
        independent(self.servers)


def _replicate(source: Host, target: Host, writer: CaseFiles) -> None:
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
    return re.search(rf"(?<![\w-])(?:while-|create-)?(?:{words})(?![\w-])", problem) is not None
