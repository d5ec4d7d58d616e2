"""A run as one self-contained page: the timeline drawn, what each step found, nothing secret. Pure: texts in, a text out."""

from __future__ import annotations

import html
import importlib.resources
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from parallel_build.cli import report_numbers
from parallel_build.secret import Secret, mask

PAUSE = 1800.0  # seconds without anything begun: what comes after is another run
WIDTH, ROW, BAR, RIGHT = 1100, 24, 16, 100  # of the drawing, in its own units
LETTER, LONGEST = 7.7, 48  # width of a letter at most, and letters of a name that are shown
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
DONE, OPEN = "done", "never ended"
OPERATIONS = ("begin", "intent", "end")
WAYS = {"apply": "forward", "undo": "back"}
CLASSES = {DONE: "done", OPEN: "open"}


@dataclass
class Operation:
    """One step's apply or undo, as the journal has it.

    Attributes:
        began, ended: seconds since 1970; `ended` None when no end was written.
        outcome: `done`, the error's words, or `never ended`.
        intents: what was written down before it was done, with its time.
    """

    step: str
    verb: str
    operator: str
    began: float
    ended: float | None = None
    outcome: str = OPEN
    intents: list[tuple[float, str]] = field(default_factory=list)


def operations(journal: Iterable[Mapping[str, Any]]) -> list[Operation]:
    """The journal's operations in the order of their beginning."""
    found: list[Operation] = []
    running: dict[str, Operation] = {}
    for entry in journal:
        step, kind = str(entry.get("step", "")), entry.get("kind")
        if kind == "begin":
            running[step] = Operation(step, str(entry.get("operation", "")), str(entry.get("operator", "")), _seconds(entry))
            found.append(running[step])
        elif kind == "end" and step in running:
            operation = running.pop(step)
            operation.ended, operation.outcome = _seconds(entry), str(entry.get("outcome", ""))
        elif kind == "intent" and step in running:
            running[step].intents.append((_seconds(entry), str(entry.get("action", ""))))
    return found


def runs(found: Sequence[Operation]) -> list[list[Operation]]:
    """Operations parted where nothing was done for a long time, and where forward turns to back; the newest run first."""
    parted: list[list[Operation]] = []
    last = float("-inf")
    for operation in found:
        if operation.began - last > PAUSE or parted[-1][-1].verb != operation.verb:
            parted.append([])
        parted[-1].append(operation)
        last = max(last, operation.ended or operation.began)
    return parted[::-1]


def noted(journal: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """What the journal holds next to operations and intents - a server powered off, something not kept: time, kind, and the rest in words."""
    known = ("time", "kind", "operator")
    return [
        (
            str(entry.get("time", ""))[:19].replace("T", " "),
            str(entry["kind"]),
            ", ".join(f"{name}: {entry[name]}" for name in entry if name not in known),
        )
        for entry in journal
        if entry.get("kind") and entry["kind"] not in OPERATIONS
    ]


def page(
    stack: str,
    title: str,
    journal: Iterable[Mapping[str, Any]],
    evidence: Mapping[str, Any],
    log: str,
    secrets: list[Secret],
    *,
    versions: str = "",
    plan: Sequence[tuple[str, Sequence[str]]] = (),
    cost: Sequence[tuple[str, str]] = (),
    functions: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ()),
    refresh: int | None = None,
) -> str:
    """The page.

    Args:
        stack: name of the stack.
        title: a line such as `4.20.3.0 -> 4.22.1.0`.
        journal: its entries, oldest first.
        evidence: by the file's name without ending.
        log: the end of the run's log.
        secrets: masked in everything.
        versions: from which to which version, as configured.
        plan: what a rollback would do: step and actions, in order.
        cost: what it would cost now: question and answer.
        functions: names of the acceptance suite's runs, and a row for each test: its name, and what it gave in each run.
        refresh: seconds after which a browser reads the page again; None for never.
    """
    entries = list(journal)
    parted = runs(operations(entries))
    text = _template().render(
        stack=stack,
        title=title,
        refresh=refresh,
        style=Markup(STYLE),  # noqa: S704 - the style sheet below
        numbers=report_numbers.numbers(entries, evidence, versions, outages(evidence)),
        runs=[{"heading": _heading(group), "drawing": drawing(group), "rows": table(group)} for group in parted],
        plan=plan,
        cost=cost,
        functions={"heads": ("test", *functions[0]), "rows": functions[1]},
        command=f"parallel-build back {stack}",
        noted=[(f"{when} UTC", kind, rest) for when, kind, rest in noted(entries)],
        evidence=[(name, json.dumps(value, indent=1, sort_keys=True, default=str)) for name, value in sorted(evidence.items())],
        log=log,
    )
    return mask(text, secrets)


def _template() -> Template:
    source = importlib.resources.files(__package__).joinpath("report.html.j2").read_text()
    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    ).from_string(source)


def _heading(group: Sequence[Operation]) -> str:
    began = datetime.fromtimestamp(group[0].began).astimezone()
    failed, running = (sum(1 for each in group if (each.outcome == OPEN) is left and each.outcome != DONE) for left in (False, True))
    parts = [
        WAYS.get(group[0].verb, group[0].verb),
        f"{len(group)} operation{'s' if len(group) > 1 else ''}",
        _span(_end(group) - group[0].began),
        *([f"{failed} failed"] if failed else []),
        *([f"{running} {OPEN}"] if running else []),
    ]
    return f"{began:%Y-%m-%d %H:%M:%S %Z}: {', '.join(parts)}"


def outages(evidence: Mapping[str, Any]) -> list[str]:
    """How long users were out, each time: from the first refused call to the first served one."""
    lines = []
    for each in (evidence.get("users-out") or {}).get("times") or []:
        began = datetime.fromtimestamp(float(each["out"])).astimezone()
        if "in" not in each:
            lines.append(f"Users are out since {began:%Y-%m-%d %H:%M:%S %Z}, by {each['clock']} clock.")
            continue
        long = f"{_span(float(each['seconds']))}, by {each['clock']} clock" if "seconds" in each else "a time that two clocks don't give"
        lines.append(f"Users were out from {began:%Y-%m-%d %H:%M:%S %Z} for {long}; then the {each['side']} side served them.")
    return lines


def drawing(group: Sequence[Operation]) -> str:
    """A run's timeline as SVG: a row an operation, a bar as long as it took, a mark where something was about to be changed."""
    start, total = group[0].began, max(1.0, _end(group) - group[0].began)
    names = [_name(operation) for operation in group]
    left = 16 + LETTER * max(map(len, names))
    scale = (WIDTH - left - RIGHT) / total
    height = ROW * len(group) + 30
    out = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="timeline">']
    tick = next((step for step in TICKS if total / step <= 10), TICKS[-1])
    for count in range(int(total // tick) + 1):
        x = left + count * tick * scale
        out.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 20}" class="grid"/>')
        out.append(f'<text x="{x:.1f}" y="{height - 5}" class="tick">{_span(count * tick)}</text>')
    for row, operation in enumerate(group):
        y = row * ROW + 4
        x, long = left + (operation.began - start) * scale, max(2.0, ((operation.ended or _end(group)) - operation.began) * scale)
        took = _span(operation.ended - operation.began) if operation.ended is not None else OPEN
        kind = CLASSES.get(operation.outcome, "failed") + (" undo" if operation.verb != "apply" else "")
        out.append(f'<text x="{left - 8}" y="{y + 12}" class="name">{_text(names[row])}</text>')
        out.append(
            f'<rect x="{x:.1f}" y="{y}" width="{long:.1f}" height="{BAR}" rx="2" class="{kind}"><title>{_text(operation.outcome)}</title></rect>'
        )
        for when, action in operation.intents:
            at = left + (when - start) * scale
            out.append(f'<line x1="{at:.1f}" y1="{y}" x2="{at:.1f}" y2="{y + BAR}" class="intent"><title>{_text(action)}</title></line>')
        out.append(f'<text x="{x + long + 5:.1f}" y="{y + 12}" class="took">{took}</text>')
    return "".join([*out, "</svg>"])


def _name(operation: Operation) -> str:
    """A step's name; of a long one its beginning and its end."""
    name = operation.step + ("" if operation.verb == "apply" else f" ({operation.verb})")
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 1]}…{name[-LONGEST // 2 :]}"


def table(group: Sequence[Operation]) -> list[list[str]]:
    """The same in words: a row an operation."""
    return [
        [
            f"{datetime.fromtimestamp(operation.began).astimezone():%H:%M:%S}",
            operation.step,
            operation.verb,
            _span(operation.ended - operation.began) if operation.ended is not None else "",
            operation.outcome,
            operation.operator,
        ]
        for operation in group
    ]


def _end(group: Sequence[Operation]) -> float:
    last = [operation.ended or operation.began for operation in group]
    return max([*last, *(when for operation in group for when, _ in operation.intents)])


def _seconds(entry: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(str(entry["time"])).timestamp()


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"


def _text(value: object) -> str:
    return html.escape(str(value))


STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd;
  --done: #2a7f62; --undo: #3a6ea5; --failed: #b3382c; --open: #946c00 }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #181818; --line: #333;
  --done: #35a37e; --undo: #5b93d0; --failed: #d9604f; --open: #c79a1c } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 }
main { max-width: 1100px; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
th, td { overflow-wrap: break-word } td:last-child { overflow-wrap: anywhere } .date { white-space: nowrap }
h1 { margin-bottom: 0 } h3 { font-size: 1.05rem } summary { cursor: pointer } summary h3 { display: inline } details { margin: .6rem 0 }
.figures th { white-space: nowrap; width: 1%; padding-right: 1.5rem }
.wide { overflow-x: auto } .wide table { min-width: 42rem }
svg { width: 100%; min-width: 840px; height: auto; margin: 1rem 0; font: 13px system-ui, sans-serif; fill: var(--ink) }
.grid { stroke: var(--line) } .tick { text-anchor: middle; opacity: .8 } .name { text-anchor: end } .took { opacity: .85 }
.intent { stroke: var(--paper); stroke-width: 1.5 }
.done { fill: var(--done) } .done.undo { fill: var(--undo) } .failed { fill: var(--failed) } .open { fill: var(--open) }
table { border-collapse: collapse; width: 100%; font-size: 14px }
th, td { text-align: left; vertical-align: top; padding: .15rem .6rem .15rem 0; border-bottom: 1px solid var(--line) }
pre { overflow: auto; max-height: 32rem; background: color-mix(in srgb, var(--ink) 6%, transparent); padding: .6rem; font-size: 12.5px }
@media (max-width: 40rem) { .figures th { white-space: normal; width: 35% } }
"""
