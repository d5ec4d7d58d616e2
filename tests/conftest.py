"""Which part of the tests each test belongs to, and how the default run is made: `tools.test_parts` has the parts."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PART_MARKS = frozenset({"browser", "containers", "databases", "engine", "libvirt", "processes", "vsphere"})
"""A test with one of these marks is run by the part of that mark (the containers' part by its file); one without any is fast."""

WHOLE_FILE = re.compile(r"^pytestmark = (?:\[\s*)?pytest\.mark\.(\w+)", re.MULTILINE)
OWN = "tests/"
FAST = ("tests/fast/", "tests/contract/")
AGAIN = 20
"""Failed tests of the plain run that are run again."""
MOST = 4
"""Processes of the default run: more are busy with imports of their own for longer than they save."""


def misplaced(found: dict[str, set[str]]) -> list[str]:
    """Tests that no part would run, or two.

    Args:
        found: the marks of each test, by its name (`tests/fast/...::test_...`).
    """
    wrong = []
    for name, marks in found.items():
        if not name.startswith(OWN):
            continue  # the suite of an operator, who has no parts
        parts = sorted(marks & PART_MARKS)
        if len(parts) > 1:
            wrong.append(f"{name} is in two parts: {', '.join(parts)}")
        if not parts and not name.startswith(FAST):
            wrong.append(f"{name} is in no part: mark it, or move it to {' or '.join(FAST)}")
        if parts[:1] in (["engine"], ["processes"]) and not name.startswith(FAST):
            wrong.append(f"{name} is in no part: {parts[0]} is run in {' and '.join(FAST)} only")
    return wrong


def plain(config: pytest.Config) -> bool:
    """Whether this is `pytest` as it is typed: no test named, no marks either, and tests are run."""
    given = config.getini("addopts")
    usual = config.args_source is pytest.Config.ArgsSource.TESTPATHS and config.option.markexpr == given[given.index("-m") + 1]
    return usual and not config.option.collectonly


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Give the plain run a process more than there are processors, since some tests wait; every other run is as it is asked for."""
    if hasattr(config, "workerinput") or not plain(config):
        return
    config.option.only_fast = True
    looked_into = config.option.usepdb or config.option.capture == "no"
    if config.pluginmanager.hasplugin("xdist") and config.option.numprocesses is None and not looked_into:
        processors = len(os.sched_getaffinity(0))
        config.option.numprocesses = min(MOST, processors + 1) if processors > 1 else 0
        config.option.dist = "loadfile" if processors > 1 else "no"  # what a file's tests share is made once


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Have a process of the plain run know what it is."""
    node.workerinput["only_fast"] = _only_fast(node.config)


def _only_fast(config: pytest.Config) -> bool:
    given = getattr(config, "workerinput", None) or vars(config.option)
    return bool(given.get("only_fast"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """In the plain run, take every assert as it is, and no plugin along for tests that are another part's.

    pytest rewrites a test's asserts so that a failure shows what was compared. For all files, in each process, that takes longer than any test.
    Those that fail are run again with it.
    """
    if _only_fast(config):
        config.option.timeout_method = "signal"  # no thread for each test
        sys.meta_path[:] = [each for each in sys.meta_path if type(each).__name__ != "AssertionRewritingHook"]
        config.pluginmanager.unregister(name="hypothesispytest")
        gc.disable()  # nothing of what is imported and collected is garbage


def pytest_unconfigure(config: pytest.Config) -> None:
    """Show what the failed tests of the plain run have compared; how it ended stays as it was."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if _only_fast(config) and not hasattr(config, "workerinput") and reporter is not None:
        failed = [report.nodeid for report in reporter.stats.get("failed", [])]
        if failed:
            print(f"\nagain, with what was compared ({min(AGAIN, len(failed))} of {len(failed)} failed tests):", flush=True)
            subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "0", *failed[:AGAIN]], cwd=config.rootpath, check=False)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In the plain run, leave out a file of which every test is another part's: importing it costs more than a fast test."""
    if not _only_fast(config) or collection_path.suffix != ".py":
        return None
    found = WHOLE_FILE.search(collection_path.read_text())
    return True if found is not None and found[1] in PART_MARKS else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that is in no part or in two, before any is deselected."""
    wrong = misplaced({item.nodeid: {mark.name for mark in item.iter_markers()} for item in items})
    if wrong:
        raise pytest.UsageError("\n".join(wrong))


def pytest_collection_finish() -> None:
    """What was imported stays to the end: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    if not gc.isenabled():  # the plain run: its tests leave little behind, and looking for it takes a twentieth of the time
        gc.enable()
        gc.set_threshold(20_000, 20, 20)
