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

FOLDER = "/var/lib/cloudstack-parallel-build"
VOLATILE = "/run/cloudstack-parallel-build"
# $0: the mark; $1: whether there is input; $2: the run's token, `-` for none; the rest: the command. The input's first line has its length
# and SHA-256: an argument would show a secret's digest in the process list. It is kept in memory and has no name there before its first byte
# comes; a large one is kept on the disk. No core file is made of what is given secrets. The inner shell becomes the command, so that its
# process id is known. What the shell can do by itself it does: a run gives thousands of commands, and each program that it starts costs more than
# most of them.
FRAME = f"""
LC_ALL=C; export LC_ALL; ulimit -c 0
printf '%s\\n' "$0"; printf '%s\\n' "$0" >&2
end() {{ printf '\\n%s %s\\n' "$0" "$1" >&2; exit 0; }}
given=$1; token=$2; shift 2
if [ "$token" != - ]; then
    folder={FOLDER}; memory={VOLATILE}; PARALLEL_BUILD_COMMAND=$0; export PARALLEL_BUILD_COMMAND
    [ -d "$memory/running" ] || mkdir -p -m 700 "$memory/running" 2>/dev/null
    {{ {{ [ -d "$folder" ] || mkdir -p -m 700 "$folder"; }} && true >>"$folder/token.lock"; }} 2>/dev/null || folder=$memory
    exec 9>>"$folder/token.lock"
    seen() {{
        highest=
        for file in {FOLDER}/token {VOLATILE}/token; do
            number=; read -r number rest <"$file"
            case $number in
                "") ;;
                *[!0-9]*) highest=${{highest:-$number}} ;;
                *) [ "$number" -le "${{highest:-0}}" ] || highest=$number ;;
            esac
        done
        highest=${{highest:-0}}
    }} 2>/dev/null
    write() {{ printf '%-127s\\n' "$token" 1<>"$1/token" && sync "$1/token"; }} 2>/dev/null
    while :; do
        flock -s -w 60 9 || end locked
        seen
        [ "$highest" -le "$token" ] || end "fenced $highest"
        [ "$highest" -lt "$token" ] || break
        flock -u 9
        for file in "$memory"/running/*; do
            name=${{file##*/}}; other=${{name%%-*}}; process=${{name##*-}}
            [ -e "$file" ] && [ "$other" -lt "$token" ] || continue
            if grep -q "PARALLEL_BUILD_COMMAND=$(cat "$file")" "/proc/$process/environ" 2>/dev/null; then kill -TERM "$process"; else rm -f "$file"; fi
        done 2>/dev/null
        flock -w 60 9 || end locked
        seen; [ "$highest" -ge "$token" ] || write "$folder" || write "$memory" || end "no room"
    done
fi
if [ "$given" = input ]; then
    length=; digest=; read -r length digest || end torn
    places="/run /dev/shm ${{TMPDIR:-/tmp}} /var/tmp"; [ "$length" -lt 8388608 ] || places="/var/tmp ${{TMPDIR:-/tmp}} /run"
    for place in $places; do input=$(mktemp "$place/.input-XXXXXXXX" 2>/dev/null) && break; done
    [ -n "$input" ] || end "no room"
    exec 3>"$input" 4<"$input"; rm -f "$input"
    cat >&3 || end "no room"
    exec 3>&-
    came=$(sha256sum </proc/self/fd/4); [ "${{came%% *}}" = "$digest" ] || end torn
else
    exec 4</dev/null
fi
sh -c 'printf "%s %s\\n" "$0" "$$" >&2; own=$1-$$; [ "$1" = - ] || printf "%s" "$0" >"$2/running/$own"; shift 2; exec "$@"' \\
    "$0" "$token" "{VOLATILE}" "$@" <&4 4<&- 9>&-
code=$?
[ "$token" = - ] || for file in "$memory"/running/"$token"-*; do
    found=; read -r found <"$file"; [ "$found" != "$0" ] || rm -f "$file"
done 2>/dev/null
printf '\\n%s\\n' "$0"; end "$code"
"""
NUMBERS = tuple(f"{FOLDER}/{name}" for name in ("token", "token.next", "token.lock", "number.lock"))
"""Files in which a server keeps the numbers of runs (`records.run_number`); whatever carries a number makes them again."""
# $1: the folder, $2: that in memory, the rest: NUMBERS. Until the server's next start it still knows which run came last.
FORGET_NUMBERS = """
umask 077; mkdir -p -m 700 "$2"
last=$(cat "$1/token" "$1/token.next" "$2/token" "$2/token.next" 2>/dev/null | sort -rn | head -n 1 | cut -d' ' -f1)
[ -z "$last" ] || printf '%-127s\\n' "$last" 1<>"$2/token"
folder=$1; shift 2; rm -f "$@"; [ ! -d "$folder" ] || rmdir --ignore-fail-on-non-empty "$folder"
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
        end: the exit code; why nothing was begun: `torn` (not all of the input arrived), `no room` (for the input), `fenced N` (a run with that
            token has taken over), `locked` (commands of an earlier run do not end); or empty: it is not known.
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
        token: number of the run that gives the command: where a later one has given any, it is refused; None for one that only looks.

    Attributes:
        input: what is sent: the input behind its length and digest.
    """

    def __init__(self, data: bytes, token: int | None = None) -> None:
        self._token = "-" if token is None else str(token)
        self.mark = f"answer-{secrets.token_hex(8)}"
        self.input = f"{len(data)} {hashlib.sha256(data).hexdigest()}\n".encode() + data if data else b""

    def words(self, argv: Sequence[str]) -> list[str]:
        """The words that run a command in the frame."""
        return ["sh", "-c", FRAME, self.mark, "input" if self.input else "none", self._token, *argv]

    def ended(self, out: bytes, err: bytes) -> bool:
        """Whether all of the command's answer has come, though something that it has left running may keep the connection's pipes open."""
        mark = self.mark.encode()
        return out.endswith(b"\n" + mark + b"\n") and len(re.findall(rb"\n" + mark + rb" \d+\n", err)) > 1  # the process id, the exit code

    def read(self, raw: Result) -> Answer:
        """Find the command's answer in all that came."""
        start = f"{self.mark}\n"
        noise, began, stdout = raw.stdout.partition(start)
        stdout = stdout.partition(f"\n{start}")[0]
        before, marked, rest = raw.stderr.partition(start)
        if not marked:
            return Answer(bool(began), None, "", stdout, "", (before if before.strip() else noise).strip())
        own = re.compile(rf"\n?{self.mark} (\d+|torn|no room|locked|fenced \d+)\n")
        parts = own.split(rest)
        # parts: text, word, text, ...: the first word is the process id, unless the command was never begun.
        words, texts = parts[1::2], parts[::2]
        process = int(words[0]) if words and words[0].isdigit() else None
        end = words[-1] if len(words) > 1 or (words and process is None) else ""
        after = texts[-1] if end else ""
        return Answer(True, process, end, stdout, texts[1] if process is not None else "", f"{before}{after}".strip())
