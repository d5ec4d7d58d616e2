"""`report STACK`: one self-contained page of what was done, with the timeline drawn. Contacts no server."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parallel_build.acceptance import results
from parallel_build.cli import DONE, report_page, report_rollback
from parallel_build.cli.run_state import unfinished
from parallel_build.records.run_folder import RunFolder
from parallel_build.resolved_stack import Site
from parallel_build.stack.file import read_stack

NAME = "report"
HELP = (
    "write one self-contained page of a stack's runs: numbers, timeline, rollback plan, evidence, log; secrets masked. Contacts no server."
)
LOG_END = 64_000  # characters
REFRESH, QUIET = 2, 30.0
"""Seconds between two looks of `--follow`, and without a running step until it ends: between two steps nothing runs for a moment."""
PAUSE = threading.Event()


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and where the page goes."""
    parser.add_argument("stack")
    parser.add_argument("--output", type=Path, metavar="FILE", help="(default: report.html in the stack's run folder)")
    parser.add_argument("--follow", action="store_true", help="write it again while a run goes forward; an open page refreshes by itself")


def run(given: argparse.Namespace) -> int:
    """Print where the page is, and write it for the operator only (mode 600); with `--follow` until no step has run for a while."""
    site = read_stack(given.stack, config_file=given.config_file).site
    folder = RunFolder(site.configuration.runs, site.stack, site.hidden())
    target = given.output or folder.path / "report.html"
    print(target, flush=True)
    quiet = 0.0
    while given.follow and quiet < QUIET:
        write(site, folder, target, refresh=REFRESH)
        PAUSE.wait(REFRESH)
        quiet = 0.0 if unfinished(folder) else quiet + REFRESH
    write(site, folder, target)
    return DONE


def write(site: Site, folder: RunFolder, target: Path, refresh: int | None = None) -> None:
    """Write the page.

    Args:
        refresh: after how many seconds a browser is to read it again; None for never.
    """
    evidence: dict[str, Any] = {}
    for path in sorted((folder.path / "evidence").glob("*.json")):
        with contextlib.suppress(ValueError):
            evidence[path.stem] = json.loads(path.read_text())
    log = folder.path / "run.log"
    tested = results.read(folder.path)
    journal = list(folder.journal())
    old, new = site.configuration.original.version, site.configuration.new.version
    versions = f"move of {new.full} to new servers" if site.configuration.move else f"{old} to {new}"
    text = report_page.page(
        site.stack,
        f"{versions}, transfer {site.configuration.transfer.method}, phase {site.configuration.phase}",
        journal,
        evidence,
        log.read_text(errors="replace")[-LOG_END:] if log.exists() else "",
        site.hidden(),
        versions=versions,
        plan=report_rollback.rollback_plan(site.configuration, evidence),
        cost=report_rollback.rollback_cost(
            site.configuration, evidence, report_page.runs(report_page.operations(journal)), datetime.now(UTC)
        ),
        functions=([each.name for each in tested], results.side_by_side(tested)),
        refresh=refresh,
    )
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
