"""A command of the operator's under way, its output kept."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import stack
from lab.errors import LabError
from lab.files import Lab
from parallel_build.project import PROJECT


class Run:
    """One command of an operator under way.

    Args:
        lab: whose stack.
        log: file its output is appended to.
        argv: the command; `pulumi up` without one.
    """

    def __init__(self, lab: Lab, log: Path, argv: Sequence[str] = ()) -> None:
        self._log = log
        self.reported = "`back`" if argv else "`pulumi up`"
        self._from = log.stat().st_size if log.exists() else 0
        words = argv or ["pulumi", *stack.pulumi_words(lab, ["up"]), "--yes", "--skip-preview", "--non-interactive"]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                words,
                cwd=PROJECT,
                env=stack.environment(lab),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def wait(self, seconds: float) -> bool:
        """Wait for its end, at most so long; whether it has ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, seconds: float) -> None:
        """Wait for its end; one that does not come is made.

        Raises:
            LabError: it had to be killed.
        """
        if not self.wait(seconds):
            self.process.kill()
            raise LabError(f"{self.reported} did not end within {seconds:.0f} s", "", f"see {self._log}")

    def printed(self) -> str:
        """Its whole output."""
        with self._log.open("rb") as file:
            file.seek(self._from)
            return file.read().decode(errors="replace")

    def errors(self) -> list[str]:
        """The lines of its output that say what went wrong."""
        lines = self.printed().splitlines()
        found = [line.strip() for line in lines if "error:" in line or "Remedy:" in line or "panic" in line]
        return list(dict.fromkeys(found))[-6:] or lines[-4:]
