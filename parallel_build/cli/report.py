"""`report STACK`: one self-contained page of what was done, with the timeline drawn. Contacts no server."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from parallel_build.cli import DONE, report_page
from parallel_build.configuration import StackConfiguration, SwitchedStepName
from parallel_build.records.run_folder import RunFolder
from parallel_build.stack.file import read_stack
from parallel_build.steps import load_all
from parallel_build.steps.base import REGISTRY

NAME = "report"
HELP = (
    "write one self-contained page of a stack's runs: numbers, timeline, rollback plan, evidence, log; secrets masked. Contacts no server."
)
LOG_END = 64_000  # characters


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and where the page goes."""
    parser.add_argument("stack")
    parser.add_argument("--output", type=Path, metavar="FILE", help="(default: report.html in the stack's run folder)")


def run(given: argparse.Namespace) -> int:
    """Read the run folder, write the page for the operator only (mode 600), print where it is."""
    site = read_stack(given.stack, config_file=given.config_file).site
    folder = RunFolder(site.configuration.runs, site.stack, site.hidden())
    evidence: dict[str, Any] = {}
    for path in sorted((folder.path / "evidence").glob("*.json")):
        with contextlib.suppress(ValueError):
            evidence[path.stem] = json.loads(path.read_text())
    log = folder.path / "run.log"
    text = report_page.page(
        site.stack,
        f"{site.configuration.original.version} to {site.configuration.new.version}, transfer {site.configuration.transfer.method}, "
        f"phase {site.configuration.phase}",
        folder.journal(),
        evidence,
        log.read_text(errors="replace")[-LOG_END:] if log.exists() else "",
        site.hidden(),
        versions=f"{site.configuration.original.version} to {site.configuration.new.version}",
        plan=rollback_plan(site.configuration, evidence),
    )
    target = given.output or folder.path / "report.html"
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    print(target)
    return DONE


def rollback_plan(configuration: StackConfiguration, evidence: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """What a rollback would do now: the undo of each step of the window that was begun and not undone since, the last first."""
    load_all()
    begun = [step for step in ("Window", *get_args(SwitchedStepName)) if step in REGISTRY and _stands(evidence, step)]
    return [(step, REGISTRY[step]().undo(configuration)) for step in reversed(begun)]


def _stands(evidence: Mapping[str, Any], step: str) -> bool:
    done, undone = (_ended(evidence.get(name)) for name in (step, f"{step}.undo"))
    return done is not None and (undone is None or undone < done)


def _ended(found: Any) -> str | None:
    timing = found.get("timing") if isinstance(found, Mapping) else None
    return str(timing.get("ended", "")) if isinstance(timing, Mapping) else None
