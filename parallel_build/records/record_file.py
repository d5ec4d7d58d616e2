"""One small file on a server that two operators may write at the same moment, and that a full disk or a power cut must not take away.

It is written in place into a second file of the same size, which is on the disk already, and the two change names once everything is there
and has been read back: so a write needs no room, nobody ever sees half of it, and what the file held before stays next to it as `NAME.1`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from parallel_build.errors import GuardFailed
from parallel_build.remote.access import Access

ROOM = 131072  # bytes that are set aside for the text; 1,500 hosts and networks need some 80,000
LOCK_WAIT = 20  # seconds for another operator's write, which takes a moment
CHANGED, LOCKED = 45, 47

# The text is the first line; what stands behind it is room.
# $1 folder, $2 name, $3 digest of what was seen (`none`: there was no file), $4 digest of the new text, $5 room, $6 `keep`: what was there
# is kept under a name of its own, $7 length of the new text. The new text comes on standard input, all of it or nothing (`remote.frame`).
_WRITE = """
set -eu; umask 077
mkdir -p -m 700 "$1"; cd "$1"; exec 9>>window.lock; flock -w 20 9 || exit 47
[ -e "$2.1" ] || [ ! -e "$2.old" ] || mv "$2.old" "$2.1"
if [ -e "$2" ]; then seen=$(head -n 1 "$2" | sha256sum | cut -d' ' -f1); else seen=none; fi
[ "$seen" = "$3" ] || exit 45
if [ ! -e "$2.1" ] || [ "$(wc -c <"$2.1")" -lt "$5" ]; then
    head -c "$5" /dev/zero 2>/dev/null | tr '\\0' '\\n' >"$2.room" 2>/dev/null && mv "$2.room" "$2.1" || rm -f "$2.room"
fi
size=$(wc -c <"$2.1" 2>/dev/null || echo 0); [ "$size" -ge "$5" ] || size=$5
{ cat; head -c "$((size - $7))" /dev/zero | tr '\\0' '\\n'; } 1<>"$2.1"
sync "$2.1"
[ "$(head -n 1 "$2.1" | sha256sum | cut -d' ' -f1)" = "$4" ] || exit 46
if [ "$6" = keep ] && [ -e "$2" ]; then cp -p "$2" "${2%.json}-$(date +%s).json"; fi
if [ -e "$2" ]; then ln -f "$2" "$2.old"; mv "$2.1" "$2"; mv "$2.old" "$2.1"; else mv "$2.1" "$2"; fi
sync .
if [ ! -e "$2.1" ]; then head -c "$5" /dev/zero | tr '\\0' '\\n' >"$2.room" && mv "$2.room" "$2.1"; fi
"""


class Held(GuardFailed):
    """Another process writes there, and does not come to its end."""


@dataclass(frozen=True)
class Text:
    """What the file says.

    Attributes:
        raw: its text, one line; None where there is no file.
    """

    raw: bytes | None

    @property
    def digest(self) -> str:
        """What tells this text from another."""
        return "none" if self.raw is None else hashlib.sha256(self.raw).hexdigest()


class RecordFile:
    """The file.

    Args:
        host: the server that it is on.
        folder: its folder, made where it is missing.
        name: its name.
        limit: seconds that a look at it may take, where others than those of a short command are meant.
    """

    def __init__(self, host: Access, folder: str, name: str = "window.json", limit: float | None = None) -> None:
        self.host, self.folder, self.name, self.limit = host, folder, name, limit

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{self.folder}/{self.name}"

    def read(self) -> Text:
        """What it says now.

        Raises:
            GuardFailed: there is a file, and it is empty.
            ConnectionFailed, CommandFailed: it can't be read: nothing is known of it.
        """
        text = self.raw()
        if text.raw is not None and not text.raw.strip():
            raise self.unusable("it is empty")
        return text

    def raw(self) -> Text:
        """Its first line, whatever it says."""
        raw = self.host.read(self.path, lines=1) if self.limit is None else self.host.read(self.path, lines=1, timeout=self.limit)
        if raw is None:
            return Text(None)
        line = raw.partition(b"\n")
        return Text(line[0] + line[1])

    def before(self) -> Text:
        """What it held before its last write; blank where that was its first."""
        found = Text(None)
        for name in (f"{self.name}.1", f"{self.name}.old"):
            found = RecordFile(self.host, self.folder, name, self.limit).raw()
            if found.raw is not None:
                break
        return found

    def write(self, seen: Text, text: str, *, keep: bool = False) -> bool:
        """Replace the text if it still is what was seen.

        Args:
            text: one line of text.
            keep: keep what is there now under a name with the time.
        Returns:
            False where somebody else has changed it.
        Raises:
            Held: another operator's write does not end.
            CommandFailed: it can't be written; what was there is still there.
        """
        line = text + "\n"
        digest, room = hashlib.sha256(line.encode()).hexdigest(), max(ROOM, -(-len(line.encode()) // ROOM) * ROOM)
        words = ["sh", "-c", _WRITE, "sh", self.folder, self.name, seen.digest, digest, str(room)]
        words += ["keep" if keep else "replace", str(len(line.encode()))]
        limit = {} if self.limit is None else {"timeout": LOCK_WAIT + self.limit}
        done = self.host.run(words, input=line, ok=(0, CHANGED, LOCKED), cancellable=False, **limit)
        if done.code == LOCKED:
            raise Held(
                f"{self.folder}/window.lock on {self.host.name} is held by another process for more than {LOCK_WAIT} s",
                "another operator writes there, or his connection broke while he did",
                f"see who: `fuser -v {self.folder}/window.lock` on {self.host.name}; then run the same command again",
            )
        return done.code != CHANGED

    def unusable(self, why: str) -> GuardFailed:
        """The error for a text that says nothing: never taken for no text."""
        return GuardFailed(
            f"{self.path} on {self.host.name} can't be used: {why}",
            "a window may be open all the same, so nothing is changed on either side",
            f"look at {self.path}.1 there, which is the text before; if that is right: cp -p {self.path}.1 {self.path}; "
            "then run the same command again",
        )
