"""The operator's own commands on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence

from parallel_build.errors import StepFailed


def run_here(words: Sequence[str], timeout: float, key: str) -> None:
    """Run one and wait for its end.

    Args:
        key: of the configuration, which has the command.
    Raises:
        StepFailed: it did not end with exit code 0 in time.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, env=dict(os.environ))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StepFailed(f"the command {shlex.join(words)} could not be run", str(error), f"correct {key}") from None
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise StepFailed(f"{shlex.join(words)} ended with exit code {done.returncode}", " ".join(tail), f"correct {key}")
