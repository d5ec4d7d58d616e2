"""Commands on this computer, for machines that live on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from parallel_build.errors import ParallelBuildError
from parallel_build.project import CODE


class MachineFailed(ParallelBuildError):
    """A machine could not be made, switched or removed."""


def in_english() -> dict[str, str]:
    """Of every command here whose words are read: virsh, for one, speaks the operator's language."""
    return {**os.environ, "LC_ALL": "C"}


def in_init_mounts() -> list[str]:
    """A command prefix that enters the mounts of process 1, empty where they are the caller's own.

    `ip netns exec` gives its command private mounts; an overlay mounted there would be gone with it.
    """
    try:
        same = Path("/proc/self/ns/mnt").stat().st_ino == Path("/proc/1/ns/mnt").stat().st_ino
    except PermissionError:  # Process 1 is shielded, as in some sandboxes: nobody can enter its mounts.
        return []
    return [] if same else ["nsenter", "--mount=/proc/1/ns/mnt", "--"]


def run(argv: Sequence[str], *, timeout: float = 60, ok: Sequence[int] = (0,)) -> str:
    """Run a command in the mounts of process 1 and return what it printed.

    Raises:
        MachineFailed: exit code not in `ok`, or out of time.
    """
    command = [*in_init_mounts(), *argv]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False, env=in_english()
        )
    except FileNotFoundError:
        raise MachineFailed(f"{argv[0]} is missing", "the lab needs it", "run scripts/setup --for lab") from None
    except subprocess.TimeoutExpired:
        raise MachineFailed(
            f"`{' '.join(argv)}` did not end within {timeout:.0f} s",
            "it hangs, or this computer is too busy",
            "look at its load, then run the same command again",
        ) from None
    if done.returncode not in ok:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise MachineFailed(
            f"`{' '.join(argv)}` ended with exit code {done.returncode}", " | ".join(words[-3:]) or "no output", "see docs/start/lab.md"
        )
    return done.stdout


def start_detached(argv: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one: a session of its own, in the mounts of process 1, its output in `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [*in_init_mounts(), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(CODE)},
            start_new_session=True,
        )


def mount_points() -> set[str]:
    """The mount points seen by machines."""
    process = "1" if in_init_mounts() else "self"
    lines = Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    return {line.split()[4].replace("\\040", " ") for line in lines}
