"""What surrounds each command on a server, so that nothing else is taken for its input, its answer or its exit code.

A login shell may print lines of its own, a connection may end in the middle of what is sent, ssh has exit codes that commands have too. So a
command begins only when all of its input has arrived, its answer stands between marks that nobody else can print, and its exit code comes
with the mark.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from parallel_build.remote.openssh import Result

# $0: the mark; $1: whether there is input; the rest: the command. The input's first line has its length and SHA-256: an argument would show a
# secret's digest in the process list. It is kept in memory and has no name there before its first byte comes; a large one is kept on the
# disk. No core file is made of what is given secrets. The inner shell becomes the command, so that its process id is known.
FRAME = """
LC_ALL=C; export LC_ALL; ulimit -c 0
printf '%s\\n' "$0"; printf '%s\\n' "$0" >&2
given=$1; shift
if [ "$given" = input ]; then
    length=; digest=; read -r length digest || { printf '\\n%s torn\\n' "$0" >&2; exit 0; }
    places="/run /dev/shm ${TMPDIR:-/tmp} /var/tmp"; [ "$length" -lt 8388608 ] || places="/var/tmp ${TMPDIR:-/tmp} /run"
    for place in $places; do input=$(umask 077; mktemp "$place/.input-XXXXXXXX" 2>/dev/null) && break; done
    [ -n "$input" ] || { printf '\\n%s no room\\n' "$0" >&2; exit 0; }
    exec 3>"$input" 4<"$input"; rm -f "$input"
    cat >&3 || { printf '\\n%s no room\\n' "$0" >&2; exit 0; }
    exec 3>&-
    if [ "$(wc -c </proc/self/fd/4)" -ne "$length" ] || [ "$(sha256sum </proc/self/fd/4 | cut -d' ' -f1)" != "$digest" ]; then
        printf '\\n%s torn\\n' "$0" >&2; exit 0
    fi
    sh -c 'printf "%s %s\\n" "$0" "$$" >&2; exec "$@"' "$0" "$@" <&4 4<&-
else
    sh -c 'printf "%s %s\\n" "$0" "$$" >&2; exec "$@"' "$0" "$@" </dev/null
fi
code=$?
printf '\\n%s\\n' "$0"; printf '\\n%s %s\\n' "$0" "$code" >&2
"""
# $1: process id of the command, $2: seconds until nobody waits any more. timeout(1) hands the signal on to what it runs.
END = """
kill -TERM "$1" 2>/dev/null || exit 0
left=$(($2 * 10)); while [ "$left" -gt 0 ]; do kill -0 "$1" 2>/dev/null || exit 0; sleep 0.1; left=$((left - 1)); done; exit 1
"""


@dataclass(frozen=True)
class Answer:
    """What of a command's answer came back.

    Attributes:
        began: the frame ran: whoever logged in there could run a command.
        process: the command's process id; None before it was begun.
        end: `torn` (not all of the input arrived, nothing was begun), `no room` (for the input), the exit code, or empty: it is not known.
        stdout, stderr: of the command alone.
        other: what came outside the marks, of the login shell or of ssh.
    """

    began: bool
    process: int | None
    end: str
    stdout: str
    stderr: str
    other: str

    @property
    def code(self) -> int | None:
        """The command's exit code; None where it is not known to have ended."""
        return int(self.end) if self.end.isdigit() else None


class Frame:
    """The frame of one command.

    Args:
        data: the command's whole input.

    Attributes:
        input: what is sent: the input behind its length and digest.
    """

    def __init__(self, data: bytes) -> None:
        self.mark = f"answer-{secrets.token_hex(8)}"
        self.input = f"{len(data)} {hashlib.sha256(data).hexdigest()}\n".encode() + data if data else b""

    def words(self, argv: Sequence[str]) -> list[str]:
        """The words that run a command in the frame."""
        return ["sh", "-c", FRAME, self.mark, "input" if self.input else "none", *argv]

    def read(self, raw: Result) -> Answer:
        """Find the command's answer in all that came."""
        start = f"{self.mark}\n"
        noise, began, stdout = raw.stdout.partition(start)
        stdout = stdout.partition(f"\n{start}")[0]
        before, marked, rest = raw.stderr.partition(start)
        if not marked:
            return Answer(bool(began), None, "", stdout, "", (before if before.strip() else noise).strip())
        own = re.compile(rf"\n?{self.mark} (\d+|torn|no room)\n")
        parts = own.split(rest)
        # parts: text, word, text, ...: the first word is the process id, unless the command was never begun.
        words, texts = parts[1::2], parts[::2]
        process = int(words[0]) if words and words[0].isdigit() else None
        end = words[-1] if len(words) > 1 or (words and process is None) else ""
        after = texts[-1] if end else ""
        return Answer(True, process, end, stdout, texts[1] if process is not None else "", f"{before}{after}".strip())
