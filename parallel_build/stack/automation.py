"""Driving `pulumi up` through the Automation API: one line of progress a thing done, a first ^C that stops where it is safe, errors in words.

Nothing of Pulumi is imported before a `Driver` is made.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from parallel_build.configuration import Phase
from parallel_build.errors import ParallelBuildError
from parallel_build.project import PROJECT
from parallel_build.stack.state import STEP_PREFIX

COLOURS = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class UpFailed(ParallelBuildError):
    """`pulumi up` did not come to its end; what it had done is in the state."""


class StoppedByOperator(UpFailed):
    """`pulumi up` was asked to stop, and did so where it was safe."""


Watch = Callable[[str, str, bool], None]


def _unwatched(kind: str, step: str, undo: bool) -> None:
    """Nobody looks."""


class Driver:
    """One stack, driven.

    Args:
        stack: its name.
        config_file: its stack file, None for the checkout's own.
        tell: shows one line.
        watch: is called when the engine begins, ends or fails a step: `begin`, `end` or `failed`, the step's type, whether it is undone.
    Raises:
        UpFailed: the Pulumi CLI or SDK is not there, or there is no such stack.
    """

    def __init__(self, stack: str, config_file: Path | None, tell: Callable[[str], None] = print, watch: Watch = _unwatched) -> None:
        try:
            from pulumi import automation
        except ImportError as error:
            raise UpFailed("the Pulumi SDK can't be imported", str(error), "run scripts/setup, then . scripts/environment") from None
        self._automation = automation
        self.name, self._file, self._tell, self._watch = stack, config_file, tell, watch
        self._process: subprocess.Popen[str] | None = None
        self._asked = 0
        self._shown: dict[str, str] = {}
        self._errors: list[str] = []
        try:
            workspace = self._workspace()(work_dir=str(PROJECT), pulumi_command=self._command())
            self._stack = automation.Stack.select(stack, workspace)
        except (automation.CommandError, OSError, subprocess.CalledProcessError) as error:
            raise UpFailed(
                f"stack {stack} can't be driven", _last(str(error)), "log in to the backend that holds it, as for `pulumi up`"
            ) from None

    def configure(self, phase: Phase, stop_before: str | None = None) -> None:
        """Write phase and hold point into the stack file."""
        self._pulumi(["config", "set", "phase", phase.value])
        if stop_before is None:
            with contextlib.suppress(self._automation.CommandError):  # It is not set.
                self._pulumi(["config", "rm", "--path", "window.stopBefore"])
        else:
            self._pulumi(["config", "set", "--path", "window.stopBefore", stop_before])

    def adopt(self, window: str) -> None:
        """Have the next `up` tie the state to a window that a different state opened."""
        self._pulumi(["config", "set", "--path", "window.adopt", window])

    def up(self) -> float:
        """`pulumi up` for what is configured; seconds that it took.

        Raises:
            StoppedByOperator: after a ^C; it stopped where it was safe.
            UpFailed: it failed, with the engine's errors, or another operation holds the state.
        """
        began = time.monotonic()
        self._errors.clear()
        try:
            with self._signals():
                options: dict[str, Any] = {"config_file": str(self._file)} if self._file else {}
                self._stack.up(on_event=self._hear, color="never", show_secrets=False, suppress_outputs=True, **options)
        except self._automation.ConcurrentUpdateError as error:
            raise UpFailed(
                f"the state of stack {self.name} is locked",
                _last(str(error)) + "; another operator, or one who was cut off, is at work on it",
                f"wait for their end; only if that process is gone: pulumi cancel --stack {self.name}",
            ) from None
        except self._automation.CommandError as error:
            words = "\n  ".join(dict.fromkeys(self._errors)) or _last(str(error))
            kind = StoppedByOperator if self._asked else UpFailed
            raise kind(f"pulumi up ended early:\n  {words}\n", "", f"parallel-build recover {self.name} explains where it stands") from None
        return time.monotonic() - began

    def _pulumi(self, words: list[str]) -> None:
        where = ["--config-file", str(self._file)] if self._file else []
        self._stack.workspace.pulumi_command.run([*words, "--stack", self.name, *where], str(PROJECT), {})

    def _hear(self, event: Any) -> None:
        for kind, found in (("begin", event.resource_pre_event), ("end", event.res_outputs_event), ("failed", event.res_op_failed_event)):
            if found is not None and str(found.metadata.type).startswith(STEP_PREFIX):
                self._watch(
                    kind,
                    str(found.metadata.type).removeprefix(STEP_PREFIX),
                    getattr(found.metadata.op, "value", found.metadata.op) == "delete",
                )
        diagnostic = event.diagnostic_event
        if diagnostic is None:
            return
        text = COLOURS.sub("", diagnostic.message).strip()
        name = (diagnostic.urn or "").rpartition("::")[2]
        if not text or self._shown.get(name) == text:
            return
        self._shown[name] = text
        if diagnostic.severity == "error":
            self._errors.append(text)
        if diagnostic.ephemeral or diagnostic.severity in ("error", "warning"):
            self._tell(f"{time.strftime('%H:%M:%S')} {name or 'pulumi'}: {text}")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """While Pulumi runs, a signal is handed on to it: once it means "stop where it is safe", twice "at once"."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._asked = 0

        def hand_on(number: int, frame: object) -> None:
            self._asked += 1
            process = self._process
            if process is not None:
                process.send_signal(signal.SIGINT)
            print("stopping where it is safe; once more ends it at once" if self._asked == 1 else "ending it at once", file=sys.stderr)

        before = {number: signal.signal(number, hand_on) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _workspace(self) -> Any:
        """The project's workspace, which leaves the stack selected that the operator has selected: his next command must not hit this one."""
        driver = self

        class Workspace(driver._automation.LocalWorkspace):  # type: ignore[misc, name-defined]
            def select_stack(self, stack_name: str) -> None:
                """Ask whether the stack is there; every command names it."""
                self.pulumi_command.run(["stack", "--stack", stack_name, "--show-name"], self.work_dir, {})

        return Workspace

    def _command(self) -> Any:
        from pulumi import automation
        from pulumi.automation.errors import create_command_error

        driver = self

        class Command(automation.PulumiCommand):
            """The CLI in a process group of its own: a terminal's ^C reaches it through this program alone, and so exactly once."""

            def run(
                self,
                args: list[str],
                cwd: str,
                additional_env: Mapping[str, str],
                on_output: Callable[[str], None] | None = None,
                on_error: Callable[[str], None] | None = None,
            ) -> Any:
                """As the Automation API's own."""
                process = subprocess.Popen(
                    [self.command, "--non-interactive", *args],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=cwd,
                    env={**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"},
                    encoding="utf-8",
                    process_group=0,
                )
                driver._process = process
                texts: tuple[list[str], list[str]] = ([], [])
                readers = [
                    threading.Thread(target=_collect, args=(pipe, call, into))
                    for pipe, call, into in zip((process.stdout, process.stderr), (on_output, on_error), texts, strict=True)
                ]
                for reader in readers:
                    reader.start()
                for reader in readers:
                    reader.join()
                code = process.wait()
                driver._process = None
                result = automation.CommandResult(stdout="\n".join(texts[0]), stderr="\n".join(texts[1]), code=code)
                if code != 0:
                    raise create_command_error(result)
                return result

        return Command()


def _collect(pipe: IO[str], call: Callable[[str], None] | None, into: list[str]) -> None:
    with pipe:
        for line in pipe:
            into.append(line.rstrip())
            if call is not None:
                call(line.rstrip())


def _last(text: str) -> str:
    lines = [line.strip() for line in COLOURS.sub("", text).splitlines() if line.strip()]
    return " | ".join(line for line in lines if not line.startswith(("code:", "stdout:")))[-600:]
