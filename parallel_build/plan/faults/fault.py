"""A known fault of a release, and how it is found out whether it would hit this cloud: by SQL, by the API or by a look at files; always read only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from parallel_build.rules import Severity, Unanswered
from parallel_build.versions import CloudStackVersion

Row = Mapping[str, Any]
Item = Mapping[str, Any]
MOST = 50  # rows asked for: enough for a list of examples


class Lists(Protocol):
    """A cloud's API, of which only lists are asked."""

    def list(self, command: str, **parameters: Any) -> list[dict[str, Any]]:
        """Every item of a list command.

        Raises:
            Unanswered: it was not answered.
        """


@dataclass(frozen=True)
class Span:
    """Which upgrades a fault concerns. Everything that is given must hold; ends are versions as texts.

    Attributes:
        crosses: the upgrade goes from before this version to it or beyond.
        since, before: the target is at least the one, and below the other.
        only: the target is one of these series or releases: its numbers begin with theirs.
        source_since, source_before: the same of the version it comes from.
    """

    crosses: str = ""
    since: str = ""
    before: str = ""
    only: tuple[str, ...] = ()
    source_since: str = ""
    source_before: str = ""

    def covers(self, old: CloudStackVersion, new: CloudStackVersion) -> bool:
        """Whether an upgrade from `old` to `new` is one of them."""
        checks: tuple[tuple[str, Callable[[CloudStackVersion], bool]], ...] = (
            (self.crosses, lambda at: old < at <= new),
            (self.since, lambda at: new >= at),
            (self.before, lambda at: new < at),
            (self.source_since, lambda at: old >= at),
            (self.source_before, lambda at: old < at),
        )
        held = all(check(CloudStackVersion(text)) for text, check in checks if text)
        return held and (not self.only or any(_begins(new, each) for each in self.only))


def _begins(version: CloudStackVersion, beginning: str) -> bool:
    numbers = tuple(int(part) for part in beginning.split("."))
    return version.numbers[: len(numbers)] == numbers


@dataclass(frozen=True)
class Fault:
    """A known fault.

    Attributes:
        name: for reports and tests.
        source: the issue or the page that it is known from.
        span: the upgrades that it concerns.
        symptom: what would be seen.
        remedy: what to do, and when.
        severity: what it means where this cloud is hit.
        sql: rows with a column `what`, one for each thing that is hit.
        keep: which of these rows count, where SQL can't say it.
        api: the same out of lists of the API.
        files: a script for `sh` that prints what is hit, a line each, on a management server of the original.
        target_alone: the target itself is enough, whatever the cloud has.
        family: the new database servers' family that it concerns; "" for both.
    """

    name: str
    source: str
    span: Span
    symptom: str
    remedy: str
    severity: Severity = Severity.WARNS
    sql: str = ""
    keep: Callable[[Row], bool] | None = None
    api: Callable[[Lists], Iterable[str]] | None = None
    files: str = ""
    target_alone: bool = False
    family: str = ""


class Verdict(StrEnum):
    """Whether a fault hits, the worst first."""

    HIT = "hit"
    UNKNOWN = "can't tell"
    CLEAR = "not hit"


@dataclass(frozen=True)
class Answer:
    """What was found out of a fault.

    Attributes:
        by: `SQL`, `API`, `files` or `target`, whichever answered; "" where none did.
        found: what is hit.
        why: why nobody can tell.
    """

    fault: Fault
    verdict: Verdict
    by: str = ""
    found: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Sources:
    """Who may be asked.

    Attributes:
        sql: puts a question to the original's database; raises Unanswered. None where there is no access.
        api: the original's API; None where there is none.
        shell: runs a script on each management server of the original: lines by server; raises Unanswered. None without access.
        family: family of the new database servers, "" where it is not known.
    """

    sql: Callable[[str], list[dict[str, Any]]] | None = None
    api: Lists | None = None
    shell: Callable[[str], Mapping[str, list[str]]] | None = None
    family: str = ""
    missing: str = field(default="that needs the database or the servers: `parallel-build plan STACK` asks them")


def judge(fault: Fault, sources: Sources) -> Answer:
    """Ask whoever can answer, the database first; unknown is not taken for no."""
    if fault.target_alone:
        return Answer(fault, Verdict.HIT, "target", ("every cloud on that release",))
    if fault.family and sources.family and fault.family != sources.family:
        return Answer(fault, Verdict.CLEAR, "target")
    asks: list[tuple[str, Callable[[], list[str]]]] = []
    if fault.sql and sources.sql is not None:
        asks.append(("SQL", lambda: _by_sql(fault, sources)))
    if fault.api is not None and sources.api is not None:
        asks.append(("API", lambda: _by_api(fault, sources)))
    if fault.files and sources.shell is not None:
        asks.append(("files", lambda: _by_files(fault, sources)))
    why = list[str]()
    for by, ask in asks:
        try:
            found = ask()
        except Unanswered as error:
            why.append(f"{by}: {error}")
        else:
            return Answer(fault, Verdict.HIT if found else Verdict.CLEAR, by, tuple(found))
    return Answer(fault, Verdict.UNKNOWN, why="; ".join(why) or sources.missing)


def _by_sql(fault: Fault, sources: Sources) -> list[str]:
    assert sources.sql is not None
    rows = sources.sql(fault.sql if fault.keep else f"{fault.sql} LIMIT {MOST}")
    return [str(row["what"]) for row in rows if fault.keep is None or fault.keep(row)]


def _by_api(fault: Fault, sources: Sources) -> list[str]:
    assert sources.api is not None and fault.api is not None
    return list(dict.fromkeys(fault.api(sources.api)))


def _by_files(fault: Fault, sources: Sources) -> list[str]:
    assert sources.shell is not None
    return [f"{line} on {server}" for server, lines in sources.shell(fault.files).items() for line in lines]


def concerning(faults: Iterable[Fault], old: CloudStackVersion, new: CloudStackVersion) -> list[Fault]:
    """The faults that an upgrade from `old` to `new` can meet."""
    return [fault for fault in faults if fault.span.covers(old, new)]
