"""`scripts/record`: runs a command in a terminal of its own and keeps what it shows, in asciinema's format; and draws the end of a recording as a picture.

The format is asciinema's second: a line of JSON about the recording, then one a piece of output with its time. Any asciinema player shows it:
`asciinema play FILE.cast`, or https://docs.asciinema.org/manual/player/ in a page.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from rich.console import Console
from rich.text import Text

TOGETHER = 0.1
"""Seconds: what is shown in so short a time is one piece."""
MOVES = re.compile(r"\x1b\[\d*[AFHJ]|\x1b\[\d+;\d+[Hf]|\x1b\[\?1049[hl]|\x1bc")
"""What moves the cursor up or clears the screen: a picture is drawn of what was shown after the last of these."""
UP = re.compile(r"\r?\x1b\[(\d+)A")
TICKS = re.compile(r"\(\d+s\)|\.+| +|\x1b\[[\d;]*m")
"""What a line that only waits changes: seconds, dots and what they leave room for."""
OTHER = re.compile(r"\x1b\[[?>=]?[\d;]*[a-ln-zA-Z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>()][0B]?")
"""What is no colour: erasing to the end of a line, titles, modes."""

Piece = tuple[float, str]
"""Seconds since the beginning, and what was shown then."""

# Rich's own format names a font on a foreign server; a picture in a page of docs loads nothing.
PICTURE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}">
<title>{label}</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


@dataclass(frozen=True)
class Recording:
    """What a command has shown.

    Attributes:
        width, height: of its terminal, in characters.
        began: seconds since 1970.
        title: what is recorded, in words.
        pieces: in order.
    """

    width: int
    height: int
    began: int
    title: str
    pieces: tuple[Piece, ...]

    def save(self, file: Path) -> None:
        """Write it."""
        head = {"version": 2, "width": self.width, "height": self.height, "timestamp": self.began, "title": self.title}
        lines = [json.dumps(head), *(json.dumps([round(when, 2), "o", text], ensure_ascii=False) for when, text in self.pieces)]
        file.write_text("\n".join(lines) + "\n")

    @classmethod
    def load(cls, file: Path) -> Recording:
        """Read one."""
        head, *lines = map(json.loads, file.read_text().splitlines())
        pieces = tuple((float(when), str(text)) for when, kind, text in lines if kind == "o")
        return cls(head["width"], head["height"], head.get("timestamp", 0), head.get("title", ""), pieces)

    @property
    def text(self) -> str:
        """Everything that was shown."""
        return "".join(text for _, text in self.pieces)


def run(command: Sequence[str], *, width: int, height: int, title: str) -> tuple[Recording, int]:
    """Run a command in a terminal of its own; shown here as well.

    Returns:
        what it showed, and its exit code.
    """
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    began, clock, pieces = int(time.time()), time.monotonic(), list[Piece]()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    with subprocess.Popen(
        list(command), stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**os.environ, "TERM": "xterm-256color"}
    ) as process:
        os.close(slave)
        while data := _read(master, process):
            pieces.append((time.monotonic() - clock, decoder.decode(data)))
            os.write(sys.stdout.fileno(), data)
        code = process.wait()
    os.close(master)
    return Recording(width, height, began, title, tuple(pieces)), code


def _read(master: int, process: subprocess.Popen[bytes]) -> bytes:
    """What comes next; empty when the command has ended, even where something that it left behind holds the terminal open."""
    while True:
        ended = process.poll() is not None
        if select.select([master], [], [], 0 if ended else 0.2)[0]:
            try:
                return os.read(master, 1 << 16)
            except OSError:  # Linux says so of a terminal that nobody has open any more
                return b""
        if ended:
            return b""


def joined(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """What is shown at nearly the same time as one piece."""
    found = list[Piece]()
    for when, text in pieces:
        if found and when - found[-1][0] < TOGETHER:
            found[-1] = (found[-1][0], found[-1][1] + text)
        else:
            found.append((when, text))
    return tuple(found)


def thinned(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The same on the screen with less: of what is drawn over what stands there only the lines that are different, and nothing where only clocks tick."""
    screen, found = list[str](), list[Piece]()
    for when, text in _frames(pieces):
        up = UP.match(text)
        lines = text[up.end() if up else 0 :].split("\r\n")
        lines, rest = lines[:-1], lines[-1]
        there = screen[-int(up.group(1)) :] if up else []
        if up and len(there) == len(lines) and not rest and [*map(_at_rest, there)] == [*map(_at_rest, lines)]:
            continue
        drawn = ["" if old == new else new for old, new in zip(there, lines, strict=False)] + lines[len(there) :]
        del screen[len(screen) - len(there) :]
        screen += [*lines, *there[len(lines) :]]
        found.append((when, (up.group() if up else "") + "".join(f"{line}\r\n" for line in drawn) + rest))
    return tuple(found)


def _frames(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """The output parted where something is drawn over what stands there; each frame ends where a line does."""
    when, text = 0.0, ""
    for at, more in pieces:
        for part in UP.sub(lambda up: f"\0{up.group()}", more).split("\0"):
            if text and (text.endswith("\n") or UP.match(part)):
                yield when, text
                text = ""
            when, text = (when if text else at), text + part
    if text:
        yield when, text


def _at_rest(line: str) -> str:
    return TICKS.sub("", line)


def squeezed(pieces: Sequence[Piece], longest: float) -> tuple[Piece, ...]:
    """The same with no pause longer than `longest` seconds."""
    waits = [when - before for before, when in pairwise([0.0, *(when for when, _ in pieces)])]
    return tuple(zip(accumulate(min(wait, longest) for wait in waits), (text for _, text in pieces), strict=True))


def renamed(pieces: Sequence[Piece], names: Mapping[str, str]) -> tuple[Piece, ...]:
    """The same with other names for what belongs to this machine alone, also where one is shown in two pieces."""
    if not names:
        return tuple(pieces)
    # Whole words only: a machine that is called vm is no reason to rename kvm1.
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(name) for name in sorted(names, key=len, reverse=True))})(?!\w)")
    ends = list(accumulate(len(text) for _, text in pieces))
    parts: list[list[str]] = [[] for _ in pieces]
    whole, at, piece = "".join(text for _, text in pieces), 0, 0

    def give(text: str, *, kept: bool) -> None:
        """Give a stretch of the text to the pieces that it stood in; a name goes to the one that it began in."""
        nonlocal at, piece
        end = at + len(text)
        while at < end:
            while ends[piece] <= at:
                piece += 1
            upto = min(end, ends[piece])
            if kept:
                parts[piece].append(whole[at:upto])
            at = upto

    for match in pattern.finditer(whole):
        give(whole[at : match.start()], kept=True)
        while ends[piece] <= at:
            piece += 1
        parts[piece].append(names[match.group()])
        give(match.group(), kept=False)
    give(whole[at:], kept=True)
    return tuple((when, "".join(part)) for (when, _), part in zip(pieces, parts, strict=True))


def picture(recording: Recording, lines: int | None = None) -> str:
    """The last lines of a recording, as SVG with their colours.

    Args:
        lines: how many; as many as the terminal had by default.
    """
    shown = OTHER.sub("", MOVES.split(recording.text)[-1]).replace("\r\n", "\n")
    rows = [row.rsplit("\r", 1)[-1] for row in shown.rstrip().split("\n")][-(lines or recording.height) :]
    console = Console(record=True, width=recording.width, file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115 - the process's own
    console.print(Text.from_ansi("\n".join([*rows, ""])), soft_wrap=False, no_wrap=True, overflow="crop", highlight=False)
    label = recording.title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return console.export_svg(title=recording.title, code_format=PICTURE.replace("{label}", label), unique_id="recording")


def main(words: list[str] | None = None) -> int:
    """Record a command, or draw a recording; the command's exit code."""
    words = sys.argv[1:] if words is None else words
    mine, command = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = argparse.ArgumentParser(prog="scripts/record", usage="%(prog)s FILE.cast [options] [-- COMMAND ...]", description=__doc__)
    parser.add_argument("file", type=Path, help="the recording (.cast); with --still alone it is read")
    parser.add_argument("--still", type=Path, metavar="FILE", help="draw its end as SVG")
    parser.add_argument("--lines", type=int, metavar="N", help="lines of the picture (default: the terminal's)")
    parser.add_argument("--title", help="(default: the command)")
    parser.add_argument("--width", type=int, default=120, help="of the terminal (default: 120)")
    parser.add_argument("--height", type=int, default=36, help="of the terminal (default: 36)")
    parser.add_argument("--longest", type=float, default=1.0, metavar="SECONDS", help="longest pause that is kept (default: 1)")
    given = parser.parse_args(mine)
    code = 0
    if command:
        title = given.title or " ".join(command)
        found, code = run(command, width=given.width, height=given.height, title=title)
        pieces = squeezed(thinned(joined(renamed(found.pieces, _own_names()))), given.longest)
        Recording(found.width, found.height, found.began, found.title, pieces).save(given.file)
    if given.still:
        given.still.write_text(picture(Recording.load(given.file), given.lines))
    return code


def _own_names() -> dict[str, str]:
    """Names of this machine and its folders, and what stands for them."""
    return {str(Path.cwd()): "~/cloudstack-parallel-build", str(Path.home()): "~", socket.gethostname(): "workstation"}


if __name__ == "__main__":
    sys.exit(main())
