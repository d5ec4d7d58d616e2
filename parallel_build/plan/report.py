"""The plan's forms: a text to work through, and a document."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from parallel_build.cloudstack.releases import is_known, needs, series
from parallel_build.durations import roughly
from parallel_build.plan import times
from parallel_build.plan.facts import Plan
from parallel_build.plan.faults import Answer, Verdict
from parallel_build.plan.rebuilds import TableWork, Work
from parallel_build.plan.target import releases
from parallel_build.plan.templates import PlannedTemplate
from parallel_build.rules import Severity, listed
from parallel_build.versions import CloudStackVersion

WIDTH = 120
SHOWN = 200  # characters of a statement
NO_PACKAGE = "the target's package was not read: name it with --package, or run this again when a new server has it"


def as_text(
    plan: Plan, hypervisors: Sequence[str] = (), rehearsed: str = "", measured: times.Rehearsed | None = None, *, by_api: bool = False
) -> str:
    """The plan for a reader.

    Args:
        hypervisors: what the guide asks for on hypervisors, a line each.
        rehearsed: how long the first start took in the last rehearsal.
        measured: what the last rehearsal measured; None where there was none.
        by_api: nothing but an API was asked: tables and packages are left out.
    """
    lines = [f"Plan of {plan.name}: CloudStack {plan.old} to {plan.new}, {plan.when:%Y-%m-%d %H:%M:%S} UTC", "", *_path(plan)]
    lines += ["", "Templates of system VMs", *_templates(plan, by_api=by_api)]
    if hypervisors:
        lines += ["", f"Hypervisors, before the first management server of {plan.new} starts", *_listed(hypervisors)]
    lines += ["", "To read", *_listed([f"[ ] {each}" for each in reading(plan)])]
    lines += ["", *([] if by_api else [*_work(plan, rehearsed, measured), ""]), *_faults(plan)]
    if plan.problems:
        lines += ["", "Not read", *_listed(plan.problems)]
    return "\n".join(lines) + "\n"


def _path(plan: Plan) -> list[str]:
    steps = plan.steps
    lines = [f"Path: one start of {plan.new} takes the schema through {len(steps)} steps; only the needs of {plan.new} must be met"]
    if not is_known(plan.new):
        lines += _listed(
            [f"{plan.new} is later than all this project knows: its scripts are those of its package, its needs are not known"]
        )
    for step in steps:
        found = needs(CloudStackVersion(step))
        lines += _listed(
            [f"{step}: Java {found.java}; template {found.template}; {found.systems}; {found.databases}; encryption {found.encryptor}"]
        )
    found = plan.needs
    lines += [f"Needs of {plan.new}"]
    lines += _listed(
        [f"Java {found.java}", f"management servers: {found.systems}", f"databases: {found.databases}", f"encryption {found.encryptor}"]
    )
    return lines


def _templates(plan: Plan, *, by_api: bool) -> list[str]:
    if plan.templates is None:
        return _listed(["not known: the clusters could not be read"])
    if by_api:
        return _listed([f"{each.hypervisor} {each.arch}: {each.name}" for each in plan.templates])
    lines = _listed([] if plan.package else [NO_PACKAGE + "; names below follow from the release"])
    for each in plan.templates:
        what = f"{each.hypervisor} {each.arch}".rstrip()
        lines += _listed([f"{what}: {each.name or 'name not known'}, {each.format}, {each.os_type}"])
        lines += indented(f"url {each.url}" if each.url else f"file {each.file}" if each.file else "")
        lines += indented(f"checksum {each.checksum}" if each.checksum else "no checksum is known")
        lines += indented(each.problem())
    return lines or _listed(["none: no cluster has a hypervisor with a template of its own"])


def _work(plan: Plan, rehearsed: str, measured: times.Rehearsed | None) -> list[str]:
    if plan.work is None:
        return ["Tables", *_listed([NO_PACKAGE if plan.package is None else "not known: see below"])]
    counts = ", ".join(f"{sum(each.work is work for each in plan.work)} {work.value}" for work in Work)
    lines = [f"Tables, by the scripts of {plan.package.where if plan.package else ''}: {counts}"]
    for each in plan.work:
        lines += _listed([f"{each.work.value} {each.table} ({each.size.bytes / 1e6:.1f} MB, about {each.size.rows:,} rows), {each.script}"])
        lines += indented(_cut(each.text))
    lines += _listed(["changes that CloudStack makes in its Java classes are in no script: only a rehearsal shows them"])
    lines += _listed([f"time of this work: {time_of(plan, measured)}"])
    return lines + (_listed([f"first start: {rehearsed}"]) if rehearsed else [])


def time_of(plan: Plan, measured: times.Rehearsed | None) -> str:
    """How long the schema's steps will take, and by what that is known."""
    if measured is not None:
        return f"{roughly(measured.seconds(plan.rows))}, by the last rehearsal and the rows that there are now"
    guessed = times.of_sizes(plan.work or [])
    return f"about {roughly(guessed)}, a guess by the tables' sizes alone; a rehearsal measures it"


def _faults(plan: Plan) -> list[str]:
    by = {verdict: [each for each in plan.answers if each.verdict is verdict] for verdict in Verdict}
    lines = [
        f"Known faults: {len(plan.answers)} concern this path; "
        + ", ".join(f"{len(found)} {verdict.value}" for verdict, found in by.items())
    ]
    for each in by[Verdict.HIT]:
        lines += _listed([f"HIT ({each.fault.severity.value}) {each.fault.name}: {each.fault.symptom}"])
        lines += indented(f"here: {listed(list(each.found))} (by {each.by})") + indented(f"to do: {each.fault.remedy}")
        lines += indented(f"source: {each.fault.source}")
    for each in by[Verdict.UNKNOWN]:
        lines += _listed([f"CAN'T TELL {each.fault.name}: {each.fault.symptom}"])
        lines += indented(f"why: {each.why}") + indented(f"source: {each.fault.source}")
    if by[Verdict.CLEAR]:
        lines += _listed([f"not hit: {', '.join(each.fault.name for each in by[Verdict.CLEAR])}"])
    return lines


def reading(plan: Plan) -> list[str]:
    """What to read before the upgrade: pages of the release documentation by their names."""
    notes = [f"release notes of {each}: about, changes, known issues" for each in releases(plan.old, plan.new)]
    target = series(plan.new)
    return [
        f"upgrade guide of {target}, from {series(plan.old)}: upgrading/upgrade/upgrade-{series(plan.old)}",
        f"compatibility page of {target}: releasenotes/compat",
        *notes,
    ]


def as_document(plan: Plan, hypervisors: Sequence[str] = (), measured: times.Rehearsed | None = None) -> dict[str, Any]:
    """The plan as plain values."""
    found = plan.needs
    return {
        "name": plan.name, "time": plan.when.isoformat(timespec="seconds"), "from": str(plan.old), "to": str(plan.new), "steps": plan.steps,
        "needs": {"java": found.java, "systems": found.systems, "databases": found.databases, "encryptor": found.encryptor},
        "package": plan.package.where if plan.package else None,
        "templates": None if plan.templates is None else [_template(each) for each in plan.templates],
        "hypervisors": list(hypervisors), "reading": reading(plan),
        "work": None if plan.work is None else [_table(each) for each in plan.work],
        "seconds": None if plan.work is None else round(times.of_sizes(plan.work) if measured is None else measured.seconds(plan.rows), 1),
        "faults": [_fault(each) for each in plan.answers], "problems": plan.problems,
    }  # fmt: skip


def _template(each: PlannedTemplate) -> dict[str, Any]:
    return {**each.entry(), "file": each.file, "problem": each.problem()}


def _table(each: TableWork) -> dict[str, Any]:
    return {
        "work": each.work.value,
        "table": each.table,
        "bytes": each.size.bytes,
        "rows": each.size.rows,
        "script": each.script,
        "text": each.text,
    }


def _fault(each: Answer) -> dict[str, Any]:
    fault = each.fault
    return {
        "fault": fault.name, "verdict": each.verdict.value, "by": each.by, "found": list(each.found), "why": each.why,
        "severity": fault.severity.value, "symptom": fault.symptom, "remedy": fault.remedy, "source": fault.source,
    }  # fmt: skip


def blocked(plan: Plan) -> bool:
    """Whether a known fault would end the upgrade."""
    return any(each.verdict is Verdict.HIT and each.fault.severity is Severity.BLOCKS for each in plan.answers)


def _listed(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in wrapped("  - ", text)]


def indented(text: str) -> list[str]:
    """Lines that belong to the item above; none of an empty text."""
    return wrapped("    ", text) if text else []


def wrapped(lead: str, text: str) -> list[str]:
    """A text in lines of the report's width."""
    return textwrap.wrap(lead + text, WIDTH, subsequent_indent="    " if lead else "", break_long_words=False, break_on_hyphens=False)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
