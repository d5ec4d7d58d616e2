"""Runs collected tests in several processes at once that are forked from the one that collected them.

What was imported and collected is theirs already, so a further process costs next to nothing: there are more of them than processors, and what one waits
for, another uses. A file's tests stay together: what they share is made once.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn, cast

import pytest
from _pytest.config import create_terminal_writer

INDEX = 4  # bytes: a file's number, as the processes take them
REPORTERS = frozenset({"TerminalReporter", "LogXML", "LFPlugin", "NFPlugin", "StepwisePlugin"})
"""Plugins that tell or keep how tests ended: only the process that everything is reported to has them."""


@dataclass
class Process:
    """A process that runs tests.

    Attributes:
        pid: its id.
        reports: where its reports come from.
        running: the test that it has begun.
    """

    pid: int
    reports: Connection
    running: str = ""


@dataclass(eq=False)
class Sender:
    """In a process that runs tests: sends on how each one went."""

    config: pytest.Config
    pipe: Connection
    reports: list[dict[str, Any]] = field(default_factory=list)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say what is begun, should this process not come to its end."""
        self.reports.clear()
        self.pipe.send(("begun", nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep it until the test is over."""
        self.reports.append(self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Send all of the test's reports."""
        self.pipe.send(("ended", nodeid, location, self.reports))

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        """Send a warning's text and place."""
        found = (str(warning_message.message), warning_message.category.__name__, warning_message.filename, warning_message.lineno)
        self.pipe.send(("warned", found, when, nodeid, location))


def run(session: pytest.Session, processes: int) -> None:
    """Run the session's tests.

    Raises:
        Session.Failed: as many have failed as were to be waited for.
    """
    files = sorted((list(tests) for _, tests in groupby(session.items, lambda item: item.path)), key=len, reverse=True)
    taken, given = os.pipe()
    os.write(given, b"".join(number.to_bytes(INDEX, "big") for number in range(len(files))))
    os.close(given)
    sys.stdout.flush()
    sys.stderr.flush()
    started: list[Process] = []
    try:
        for number in range(processes):
            ours, theirs = Pipe(duplex=False)
            pid = os.fork()
            if not pid:
                for each in (ours, *(process.reports for process in started)):
                    each.close()  # so that a process whose reports nobody reads any more ends
                _work(session, number, _tests(files, taken), theirs)
            theirs.close()
            started.append(Process(pid, ours, "nothing yet"))
        _receive(session, started)
    finally:
        os.close(taken)
        for process in started:
            if process.running:  # interrupted, or enough have failed
                os.kill(process.pid, signal.SIGINT)
            os.waitpid(process.pid, 0)


def _work(session: pytest.Session, number: int, tests: Iterator[pytest.Item], pipe: Connection) -> NoReturn:
    """The whole life of a process that runs tests; it ends without what the first one does at its end."""
    code = 1
    try:
        _apart(session.config, number)
        session.config.pluginmanager.register(Sender(session.config, pipe), "side-by-side")
        test = next(tests, None)
        while test is not None:
            following = next(tests, None)
            test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
            test = following
        pipe.send(("done",))
        code = 0
    except (KeyboardInterrupt, BrokenPipeError):
        vars(session)["_setupstate"].teardown_exact(None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _apart(config: pytest.Config, number: int) -> None:
    """Give a forked process an output and a folder of its own, and leave reporting to the first."""
    plugins = config.pluginmanager
    for plugin in [each for each in plugins.get_plugins() if type(each).__name__ in REPORTERS]:
        plugins.unregister(plugin)
    capture: Any = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()
    plugins.register(_Writer(create_terminal_writer(config, sys.__stderr__)), "terminalreporter")
    folders = vars(config)["_tmp_path_factory"]
    folders._basetemp = folders.getbasetemp() / f"process-{number}"
    folders._basetemp.mkdir(mode=0o700)


@dataclass(eq=False)
class _Writer:
    """What a plugin writes to the terminal with, such as the stacks of a test that takes too long: it is kept with the test's output."""

    _tw: Any


def _tests(files: Sequence[list[pytest.Item]], taken: int) -> Iterator[pytest.Item]:
    """One test after the other of the files that this process comes to take."""
    while number := os.read(taken, INDEX):
        yield from files[int.from_bytes(number, "big")]


def _receive(session: pytest.Session, started: Sequence[Process]) -> None:
    hook, config = session.config.hook, session.config
    left = {process.reports: process for process in started}
    while left:
        for pipe in wait(list(left)):
            process = left[cast(Connection, pipe)]
            try:
                kind, *found = process.reports.recv()
            except EOFError:
                kind, session.shouldfail = "lost", f"a process of the tests ended in the middle of {process.running}"
            if kind == "begun":
                process.running = found[0]
            elif kind == "ended":
                nodeid, location, reports = found
                hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
                for each in reports:
                    hook.pytest_runtest_logreport(report=hook.pytest_report_from_serializable(config=config, data=each))
                hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)
            elif kind == "warned":
                (text, category, file, line), when, nodeid, location = found
                recorded = warnings.WarningMessage(UserWarning(f"{category}: {text}"), UserWarning, file, line)
                hook.pytest_warning_recorded.call_historic(
                    kwargs={"warning_message": recorded, "when": when, "nodeid": nodeid, "location": location}
                )
            else:
                process.running = ""
                del left[process.reports]
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
