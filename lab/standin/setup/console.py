"""What the setup commands print, and how they fail."""

from __future__ import annotations

import sys

GREEN = "\033[92m"
RED = "\033[91m"
PLAIN = "\033[0m"
STARS = "*" * 63
WIDTH = 80


class SetupError(Exception):
    """A setup command can't continue; the text is what its user reads."""


def info(message: str | None, result: bool | None = None) -> None:
    """Print a piece of progress: the message padded to 80 columns, then its result.

    A message of None only adds the result to the line that is open.
    """
    text = "" if message is None else f"{message:<{WIDTH}}"
    if result is True:
        text += f"[ {GREEN}{'OK':<2}{PLAIN} ]\n"
    elif result is False:
        text += f"[ {RED}{'FAILED':<6}{PLAIN} ]\n"
    sys.stdout.write(text)
    sys.stdout.flush()


def apology(error: str, command: str) -> str:
    """Return the block that a failing command writes to stderr."""
    return f"\n\nWe apologize for below error:\n{STARS}\n{error}\n{STARS}\nPlease run:\n\n    {command} -h\n\nfor full help\n"
