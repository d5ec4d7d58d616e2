"""A cold copy of the stopped original's data folder as one compressed file on another host, with a checksum; and the proof that a server starts on it.

It is taken next to the steps behind OriginalDatabase and only reads: nothing of the window waits for it, and a failure is reported and tried again by the next
`pulumi up` while the original is still down. A file counts only together with its note, which is written last.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import IO, Any

from parallel_build.configuration import DumpFile
from parallel_build.durations import roughly
from parallel_build.errors import CommandFailed, GuardFailed, StepFailed
from parallel_build.operations import original_database
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database as original_host
from parallel_build.operations.context_helpers import schemas, store
from parallel_build.records.states import COPY, CopyState
from parallel_build.remote.access import Access
from parallel_build.remote.piped import begun, marked
from parallel_build.remote.sql import session

SECONDS = 12 * 3600.0  # time limit of one copy
BLOCK = 1 << 20
SPARE = 1 << 30  # bytes of room left for others
USUAL = original_database.USUAL

RESOLVE = 'for f; do readlink -f "$f"; done'
# $1 to $n: folders. Bytes of all they hold, and what tells their file systems apart.
SIZE = 'for f; do du -sxb "$f" | cut -f1; stat -Lc %d "$f"; done'
# $1 folder, which need not be there yet: free bytes, file system, this machine.
ROOM = """
p=$1; while [ ! -e "$p" ]; do p=$(dirname "$p"); done
df -P -B1 "$p" | tail -n 1 | awk '{print $4}'; stat -Lc %d "$p"; cat /etc/machine-id
"""
PACK = '{ tar -C / -cf - "$@" || echo parallel-build: tar has failed >&2; } | gzip -1'
KEEP = 'umask 077; mkdir -p "$(dirname "$1")"; cat >"$1.part"; sync "$1.part"; sha256sum "$1.part" | cut -d" " -f1'
# The server's program: where a path leads to it, else where the Debian family's packages have it, and the EL family's.
PROGRAM = (
    "command -v mariadbd || command -v mysqld || "
    "ls /usr/sbin/mariadbd /usr/sbin/mysqld /usr/libexec/mariadbd /usr/libexec/mysqld 2>/dev/null | head -n 1"
)
# $1 file, $2 data folder as it was, $3 schemas (a list in SQL), then options of the server. A server of its own in a folder of its own, without a network;
# as root, since nobody else may enter that folder.
READ_BACK = r"""
file=$1 data=$2 schemas=$3; shift 3
server=$(PROGRAM)
client=$(command -v mariadb || command -v mysql)
work=$(mktemp -d "$(dirname "$file")/readback.XXXXXX")
stop() { if [ -s "$work/pid" ]; then kill "$(cat "$work/pid")" 2>/dev/null || true; wait 2>/dev/null || true; fi; rm -rf "$work"; }
trap stop EXIT
gzip -dc "$file" | tar -C "$work" -xf -
"$server" --no-defaults "$@" --datadir="$work$data" --socket="$work/s" --pid-file="$work/pid" --skip-networking --skip-grant-tables --loose-skip-slave-start \
  --loose-skip-replica-start --skip-log-bin --user=root --log-error="$work/err" </dev/null >/dev/null 2>&1 &
for _ in $(seq 300); do
  if "$client" --no-defaults -S "$work/s" -e 'SELECT 1' >/dev/null 2>&1; then break; fi
  if ! kill -0 $! 2>/dev/null; then tail -n 5 "$work/err" >&2; exit 1; fi
  sleep 1
done
"$client" --no-defaults -N -B -S "$work/s" -e "SELECT CONCAT('SELECT COUNT(*) FROM \`', TABLE_SCHEMA, '\`.\`', REPLACE(TABLE_NAME, '\`', '\`\`'), '\`;')
  FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA IN ($schemas)" >"$work/ask"
echo "$(wc -l <"$work/ask") $("$client" --no-defaults -N -B -S "$work/s" <"$work/ask" | awk '{s += $1} END {print s + 0}')"
""".replace("PROGRAM", PROGRAM)
# Options that a server needs to read another's files.
OPTIONS = re.compile(
    r"^--(?:loose[-_])?(innodb[-_](?:data[-_]file[-_]path|page[-_]size|undo[-_]tablespaces|log[-_]file[-_]size|log[-_]files[-_]in[-_]group)"
    r"|lower[-_]case[-_]table[-_]names)=[\w:.,;/-]+$"
)
PRINT_OPTIONS = f'"$({PROGRAM})" --print-defaults | tail -n 1'


@dataclass(frozen=True)
class Note:
    """What is known of a file; it lies next to it.

    Attributes:
        file: its path.
        bytes: of the compressed file.
        sha256: its checksum.
        folder: the data folder that it holds.
        source: the server that it is of.
        window: when the window was opened.
        tables, rows: as a server that was started on it counted them; None where that was not asked for, or not done yet.
        expected: rows of the record; None where it has no count (method replicate).
    """

    file: str
    bytes: int
    sha256: str
    folder: str
    source: str
    window: str
    tables: int | None = None
    rows: int | None = None
    expected: int | None = None


def prove_room(context: Context) -> None:
    """Rule: the folder of window.dumpFile has room for all of it, and is not on the original's own data volume. Asked while the original runs.

    Raises:
        GuardFailed: it has not, or is.
    """
    wanted = context.configuration.window.dump_file
    if wanted is None:
        return
    with session(original_host(context)) as database:
        folder = str(database.value("SELECT @@datadir"))
    _room(context, wanted, _resolved(original_host(context), [folder]))


def _resolved(source: Access, folders: list[str]) -> list[str]:
    """Where folders really are, each once, none within another: a data folder may be a link to a volume of its own."""
    found = list(dict.fromkeys(source.script(RESOLVE, folders).stdout.splitlines()))
    return [each for each in found if not any(each != other and each.startswith(other.rstrip("/") + "/") for other in found)]


def _room(context: Context, wanted: DumpFile, folders: list[str]) -> None:
    source, target = original_host(context), context.host(wanted.server)
    shown = source.script(SIZE, folders, timeout=600).stdout.split()
    size, volumes = sum(int(each) for each in shown[::2]), set(shown[1::2])
    free, volume, machine = target.script(ROOM, [wanted.folder]).stdout.split()
    if machine == source.run(["cat", "/etc/machine-id"]).stdout.strip() and volume in volumes:
        raise GuardFailed(
            f"window.dumpFile: {wanted.folder} on {target.name} is on the volume of the original's data ({', '.join(folders)})",
            "a copy that goes with the disk that it is a copy of is none, and it could fill that disk before a rollback",
            "name a folder on a different host or volume",
        )
    needed = size * (2 if wanted.read_back else 1) + SPARE
    if int(free) < needed:
        raise GuardFailed(
            f"window.dumpFile: {wanted.folder} on {target.name} has {int(free):,} bytes free, and {needed:,} are needed",
            f"the original's data folder has {size:,} bytes" + (", and reading it back takes as much again" if wanted.read_back else ""),
            "make room there, or name a different folder",
        )


def take(context: Context, wanted: DumpFile) -> Note:
    """The file and its note; what is there already, of this window, is only read back where that has not been done.

    Raises:
        GuardFailed: no room, or the wrong volume. StepFailed: it could not be taken whole, or a server that starts on it counts other rows.
    """
    known = store(context).facts("OriginalDatabase")
    opened = str(store(context).mine().opened)
    note = _present(context, wanted, opened)
    if note is None:
        folders = _resolved(original_host(context), [str(known.get("folder") or USUAL), *(str(each) for each in known.get("folders", []))])
        _room(context, wanted, folders)
        note = _copy(context, wanted, folders, opened, known)
    if wanted.read_back and note.rows is None:
        note = _read_back(context, wanted, note)
    return note


def present(context: Context, wanted: DumpFile) -> Note | None:
    """The file of this window, where there is one; changes nothing."""
    return _present(context, wanted, str(store(context).mine().opened))


def _present(context: Context, wanted: DumpFile, opened: str) -> Note | None:
    text = context.host(wanted.server).read(f"{_path(context, wanted, opened)}.json")
    if text is None:
        return None
    try:
        found = Note(**json.loads(text))
    except (ValueError, TypeError):
        return None
    return found if found.window == opened else None


def _path(context: Context, wanted: DumpFile, opened: str) -> str:
    return f"{wanted.folder.rstrip('/')}/{context.site.stack}-{re.sub(r'[^0-9T]', '', opened[:19])}.tar.gz"


def _copy(context: Context, wanted: DumpFile, folders: list[str], opened: str, known: dict[str, Any]) -> Note:
    source, target, path = original_host(context), context.host(wanted.server), _path(context, wanted, opened)
    before = source.script(original_database.FILES, folders).stdout.strip()
    context.progress(f"copying {', '.join(folders)} of {source.name} to {path} on {target.name}")
    context.intend("cold copy of the original's data folder", source=source.name, target=target.name, file=path)
    began = time.monotonic()
    count, digest = _stream(context, source, target, [each.strip("/") for each in folders], path)
    if source.script(original_database.FILES, folders).stdout.strip() != before or original_database.ran_since(context, known):
        raise StepFailed(
            f"{path} is of no use: the original's database has run while it was copied",
            "the copy was imported again, or somebody started it",
            "run `pulumi up` again",
        )
    note = Note(path, count, digest, folders[0].rstrip("/"), source.name, opened, expected=_expected(context))
    target.run(["mv", f"{path}.part", path], cancellable=False)
    _write(target, note)
    context.progress(f"{path} on {target.name}: {count:,} bytes in {roughly(time.monotonic() - began)}, sha256 {digest}")
    return note


def _write(target: Access, note: Note) -> None:
    target.write(f"{note.file}.json", json.dumps(asdict(note), indent=1) + "\n", mode=0o600)


def _expected(context: Context) -> int | None:
    """How many rows were copied and compared: with `replicate` only changed rows are counted at the end."""
    copied = CopyState.of(store(context).facts(COPY)).copied or {}
    rows = copied.get("rows")
    return int(rows) if rows is not None and context.configuration.transfer.method == "dump" else None


def _stream(context: Context, source: Access, target: Access, folders: list[str], path: str) -> tuple[int, str]:
    """Relay the compressed stream; its bytes and checksum, which the target's file must have as well."""
    mark, packing = marked(["sh", "-c", PACK, "sh", *folders])
    count, digest = 0, hashlib.sha256()
    with tempfile.TemporaryFile() as words:  # a pipe that nobody reads would hold up a program that has much to say
        reader = _started(source, packing, stdin=subprocess.DEVNULL, stderr=words)
        writer = _started(target, ["sh", "-c", KEEP, "sh", path], stdin=subprocess.PIPE, stderr=words)
        try:
            first = begun(reader, mark)
            for block in itertools.chain([first or b""], iter(lambda: _pipe(reader.stdout).read(BLOCK), b"")):
                context.cancel.check()
                count += len(block)
                digest.update(block)
                _pipe(writer.stdin).write(block)
            _pipe(writer.stdin).close()
            arrived = _pipe(writer.stdout).read().decode(errors="replace").strip()[-64:]  # of SHA-256; a login shell may print before it
            codes = (reader.wait(), writer.wait())
        except OSError as error:
            raise StepFailed(
                f"{path} on {target.name} could not be written", str(error), "see that host's disk, then `pulumi up`"
            ) from None
        finally:
            for process in (reader, writer):
                if process.poll() is None:
                    process.kill()
                    process.wait()
        words.seek(0)
        printed = words.read().decode(errors="replace")
    if first is None or any(codes) or "tar has failed" in printed or arrived != digest.hexdigest():
        raise StepFailed(
            f"{path} on {target.name} is not whole",
            " | ".join(printed.strip().splitlines()[-3:]) or "what arrived has a different checksum",
            "see both hosts' disks and the network between, then `pulumi up`",
        )
    return count, arrived


def _started(host: Access, argv: list[str], *, stdin: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    command = host.piped(argv, SECONDS)
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _read_back(context: Context, wanted: DumpFile, note: Note) -> Note:
    """Start a throw-away server on it, and have every row counted."""
    target = context.host(wanted.server)
    context.progress(f"reading {note.file} back: a server of its own starts on it on {target.name}, and counts every row")
    names = ", ".join(f"'{name}'" for name in schemas(context.configuration))
    options = [word for word in original_host(context).script(PRINT_OPTIONS).stdout.split() if OPTIONS.match(word)]
    try:
        shown = target.script(READ_BACK, [note.file, note.folder, names, *options], timeout=SECONDS)
        tables, rows = (int(word) for word in shown.stdout.split())
    except (CommandFailed, ValueError) as error:
        raise StepFailed(
            f"no server starts on {note.file} on {target.name}",
            str(error),
            f"install a database server of the original's series on {target.name}, then run `pulumi up`",
        ) from None
    if note.expected is not None and rows != note.expected:
        raise StepFailed(
            f"{note.file} has {rows:,} rows, and the record {note.expected:,}",
            "it is not what was brought over",
            f"rename it and its .json on {target.name} to keep them for an investigation; `pulumi up` then takes it again",
        )
    read = Note(**{**asdict(note), "tables": tables, "rows": rows})
    _write(target, read)
    counted = "the record's" if note.expected is not None else "the record has no count with transfer.method replicate"
    context.progress(f"{note.file} was read back: {tables} tables, {rows:,} rows ({counted})")
    return read
