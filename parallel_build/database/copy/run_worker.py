"""Running the copy's worker on the new server and following it from here."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

import parallel_build
from parallel_build.cancel import CancelToken
from parallel_build.database.copy.account import CopyAccount, client_options
from parallel_build.database.copy.cleanup import RUN_FOLDER, UNIT
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.errors import CommandFailed, ConnectionFailed, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.session_settings import pinned

ABANDONED = 60  # seconds without a watcher after which the worker ends itself
STALLED = 30  # seconds without a byte after which the worker looks whether the original still knows its sessions
LOOKS = 5  # seconds from one look at a running worker to the next
UNREACHABLE = 45  # seconds the new server may be out of reach while the worker continues

TARGET = f"{RUN_FOLDER}/target.cnf"  # how to log in to the new server, where that takes a password
AUTHORITY = f"{RUN_FOLDER}/ca.pem"  # the original's, on the new server
# What runs there.
WORKER = (
    "__init__.py",
    "database/__init__.py",
    *(
        f"database/copy/{name}.py"
        for name in ("__init__", "clients", "digest", "loading", "opening", "pace", "reading", "tasks", "unchanged", "wire", "worker")
    ),
    *(f"database/server/{name}.py" for name in ("__init__", "snapshot", "waiting")),
)
# Loading its modules and opening its sessions takes a fraction of a second: it is started before the tables are there, and waits for its order.
LAUNCH = r"""
run=$1 unit=$2 python=$3
systemctl reset-failed "$unit" 2>/dev/null || true
exec systemd-run --quiet --collect --unit="$unit" --property=UMask=0077 --property=KillMode=control-group \
  --property=TimeoutStopSec=20 --property=LimitCORE=0 "$python" "$run/worker.pyz" "$run"
"""
# Whoever finds an order takes its worker for one that has its job, so that comes first. A worker that has waited too long for either has ended;
# that is looked at before, because one that has its order may end at once, and must not begin it again.
START = r"""
touch "$1/alive"
waits=
systemctl is-active --quiet "$2" && waits=yes
mv "$1/order.new" "$1/order.json"
[ -z "$waits" ] || exit 0
"""
# Both ends are busy with the copy itself: a look costs some hundredths of a second of each, so few are taken, and its end shows at once.
LOOK = r"""
run=$1 unit=$2 longest=$3
touch "$run/alive" 2>/dev/null || true
pid=$(systemctl show --property=MainPID "$unit" 2>/dev/null | cut -d= -f2-)
[ "${pid:-0}" = 0 ] || timeout "$longest" tail --pid="$pid" --sleep-interval=0.1 -f /dev/null || true
cat "$run/status.json" 2>/dev/null || echo '{}'
systemctl is-active "$unit" 2>/dev/null || true
"""


@dataclass(frozen=True)
class Tools:
    """Programs on the new server: its Python 3 and its own family's client."""

    python: str
    client: str


def find_tools(target: Access, server: DatabaseServer) -> Tools:
    """Find what the worker needs.

    Raises:
        StepFailed: names what is missing on the new server.
    """
    found: dict[str, str] = {}
    for meaning, names in (("Python 3", ("python3",)), ("client program", server.dialect.client), ("systemd-run", ("systemd-run",))):
        result = target.run(["sh", "-c", 'for n; do command -v "$n" && exit 0; done; exit 1', "sh", *names], ok=(0, 1))
        if not result.ok:
            raise StepFailed(
                f"{target.name} has no {meaning} ({' or '.join(names)})",
                "the copy runs on the new database server, with that server's own client program",
                f"install {names[0]} on {target.name}",
            )
        found[meaning] = result.stdout.strip()
    return Tools(found["Python 3"], found["client program"])


def processors(target: Access) -> int:
    """How many of its processors the new server's programs may use."""
    return int(target.run(["nproc"]).stdout)


def source_command(tools: Tools, server: DatabaseServer) -> list[str]:
    """The client's words for a session on the original; where it is and the password are in its file."""
    words = [tools.client, f"--defaults-file={RUN_FOLDER}/source.cnf", *_session_options(server)]
    return [*words, "--quick", "--default-character-set=binary"]


def probe_command(tools: Tools, old: DatabaseServer, new: DatabaseServer, table: str) -> list[str]:
    """The client's words for one question to the original: how many sessions of the copy's account it has, without the asking one.

    Args:
        table: as `processes.table` gives it.
    """
    question = f"SELECT COUNT(*) - 1 FROM {table} WHERE USER = SUBSTRING_INDEX(USER(), '@', 1)"
    return [
        tools.client,
        f"--defaults-file={RUN_FOLDER}/source.cnf",
        *_session_options(new),
        f"--init-command={pinned(old.family, old.version)}",
        "--connect-timeout=10",
        f"--execute={question}",
    ]


def target_command(tools: Tools, server: DatabaseServer, login: Sequence[str]) -> list[str]:
    """The client's words for a session on the new server itself."""
    return [
        tools.client,
        *login,
        *_session_options(server),
        "--default-character-set=utf8mb4",
    ]


def _session_options(server: DatabaseServer) -> list[str]:
    options = ["--batch", "--raw", "--skip-column-names", "--unbuffered", "--skip-reconnect", "--max-allowed-packet=1G"]
    return [*options, "--skip-binary-as-hex"] if server.family == "mysql" else options


def compress_options(server: DatabaseServer) -> list[str]:
    """How that family's client is made to compress what goes over the network."""
    return ["--compression-algorithms=zstd,zlib", "--zstd-compression-level=1"] if server.family == "mysql" else ["--compress"]


def archive() -> bytes:
    """The worker with all it needs beyond a server's own Python, as a program in one file."""
    package = Path(parallel_build.__file__).parent
    files = {f"parallel_build/{name}": package / name for name in WORKER}
    library = Path(pymysql.__file__).parent
    files |= {f"pymysql/{path.relative_to(library)}": path for path in sorted(library.rglob("*.py"))}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("__main__.py", "import sys\nfrom parallel_build.database.copy.worker import main\nsys.exit(main())\n")
        for name, path in files.items():
            pack.write(path, name)
    return packed.getvalue()


def push(target: Access, tools: Tools, fifos: str, owner: str) -> None:
    """Push the worker and launch its unit, which then waits for its job and its order.

    Args:
        fifos: folder for the named pipes; given to `owner`, the account the database server runs as.
    """
    target.run(["mkdir", "-p", "-m", "700", RUN_FOLDER], cancellable=False)
    target.run(["install", "-d", "-m", "700", "-o", owner, fifos], cancellable=False)
    target.write(f"{RUN_FOLDER}/worker.pyz", archive())
    target.script(LAUNCH, [RUN_FOLDER, UNIT, tools.python], cancellable=False)


def prepare(target: Access, server: DatabaseServer, access: CopyAccount, job: dict[str, Any]) -> None:
    """Give the worker that was pushed its job and secrets: it opens its sessions on the original, and waits for its order."""
    if access.authority:
        target.write(AUTHORITY, access.authority)
    target.write(f"{RUN_FOLDER}/source.cnf", client_options(access, server.family, AUTHORITY))
    target.write(f"{RUN_FOLDER}/job.json", json.dumps(job))


def start(target: Access, tools: Tools, order: str) -> None:
    """Have the worker begin, once the tables are there.

    Args:
        order: kept for a later call, see `detached`.
    """
    target.write(f"{RUN_FOLDER}/order.new", order)
    target.script(START + LAUNCH, [RUN_FOLDER, UNIT, tools.python], cancellable=False)


def runs(target: Access) -> bool:
    """Whether a worker is at work there."""
    state = target.run(["systemctl", "is-active", UNIT], ok=None).stdout.strip()
    return state in ("active", "activating", "deactivating")


def follow(target: Access, cancel: CancelToken, tell: Callable[[dict[str, Any]], None], longest: float = LOOKS) -> dict[str, Any]:
    """Watch the worker until it is done.

    Args:
        tell: takes in what is seen.
        longest: seconds between two looks; its end is seen at once.
    Returns:
        Its last status.
    Raises:
        StepFailed: it failed, with its words; or it ended without a word.
        ConnectionFailed: the new server was out of reach for longer than UNREACHABLE seconds.
        Cancelled: stopping was asked for.
    """
    last_seen = time.monotonic()
    while True:
        try:
            result = target.script(LOOK, [RUN_FOLDER, UNIT, str(longest)], timeout=20 + longest)
        except (ConnectionFailed, CommandFailed):
            if time.monotonic() - last_seen > UNREACHABLE:
                raise
            cancel.wait(1)
            continue
        last_seen = time.monotonic()
        text, _, unit_state = result.stdout.strip().rpartition("\n")
        ended = unit_state in ("inactive", "failed")
        # It may have ended right after its status was read: the last word is what stands there now.
        last = target.read(f"{RUN_FOLDER}/status.json") if ended else text.encode()
        status: dict[str, Any] = json.loads(last or b"{}")
        if status:
            tell(status)
        if status.get("state") in ("done", "partial"):
            return status
        if status.get("state") == "failed":
            raise StepFailed(
                f"{target.name}: the copy stopped",
                str(status["error"]),
                "put that right, then run the same command again",
            )
        if ended:
            journal = target.run(["journalctl", "-u", UNIT, "-n", "5", "--no-pager", "-o", "cat"], ok=None).stdout
            raise StepFailed(
                f"{target.name}: the copy's program ended without a word",
                " | ".join(journal.split("\n")).strip(" |"),
                "run the same command again",
            )
        cancel.wait(0.1)
