"""The output of a program on a server, for a pipe of the caller's own: what a login shell prints before it is no part of it."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence

from parallel_build.remote.bridge import after_mark

# $0: the mark, on a line of its own, whatever was printed before it.
SAY = 'printf "\\n%s\\n" "$0"; exec "$@"'


def marked(argv: Sequence[str]) -> tuple[str, list[str]]:
    """A mark, and the words that print it before the program's own output."""
    mark = f"begin-{secrets.token_hex(8)}"
    return mark, ["sh", "-c", SAY, mark, *argv]


def begun(process: subprocess.Popen[bytes], mark: str) -> bytes | None:
    """What of the program's own output came with the mark; None where the mark does not come."""
    assert process.stdout is not None
    return after_mark(process.stdout, mark, process)
