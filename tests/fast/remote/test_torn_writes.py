"""Every way in which this tool writes a file on a server, ended at every 64th byte of what is sent and before every program that it runs there.

The shell is a real one. Afterwards the file holds what it held before, or what it was to hold; the same command again ends well, and takes nothing
that was left over for the file. The connection may end (nothing has begun then), the disk may be full, the server may lose its power.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cloudstack import setup
from parallel_build.database.copy import account_notes
from parallel_build.errors import CommandFailed, ConnectionFailed, ParallelBuildError
from parallel_build.machines.existing import undo
from parallel_build.machines.existing.manifest import Record
from parallel_build.operations import carry, fixes, start_gate
from parallel_build.records import run_number
from parallel_build.records.record_file import RecordFile
from parallel_build.records.window import WindowRecord
from parallel_build.remote import transactions, whole_files
from parallel_build.remote.frame import Frame
from parallel_build.remote.host import Host
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]
STEP = 64  # bytes
PROGRAMS = (
    "base64", "cat", "chmod", "chown", "comm", "cp", "cut", "date", "dirname", "find", "flock", "head", "ln", "mkdir", "mv", "rm", "rmdir",
    "sha256sum", "sort", "stat", "sync", "systemctl", "tail", "tr", "wc",
)  # fmt: skip
# Counts the programs that were begun, and ends everything before the one whose turn it is; `cat` may be given room for so many bytes alone.
STAND_IN = """#!/bin/sh
half() {{  # what a program has done that is ended in its middle
  name=$1; shift
  for last; do :; done
  case $name in
    cp) cp "$@"; if [ -d "$last" ]; then find "$last" -type f | sort | head -n 1 | xargs -r rm -f; else truncate -s 7 "$last"; fi;;
    rm) for last; do if [ -d "$last" ]; then find "$last" -type f | sort | head -n 1 | xargs -r rm -f; fi; done;;
    cat|comm|cut|head|sort|tr) "$name" "$@" | head -c 5;;
  esac
}}
printf x >>{folder}/begun
read left <{folder}/left
if [ "$left" -ge 0 ] && [ "$({wc} -c <{folder}/begun)" -gt "$left" ]; then
  PATH={usual}
  case $(cat {folder}/how) in
    disk) case {name} in cat|comm|cp|cut|head|mkdir|sort|sync|tr) exit 1;; *) exec {program} "$@";; esac;;  # what removes or renames needs no room
    power) kill -KILL 0;;
    half) half {name} "$@"; kill -KILL 0;;
  esac
  exit 1
fi
{room}exec {program} "$@"
"""
ROOM = """read room <{folder}/room
if [ "$room" -ge 0 ] && [ $# -eq 0 ]; then
  {head} -c "$room"
  if [ "$({cat} {folder}/how)" = power ]; then kill -KILL 0; fi
  echo 'cat: write error: No space left on device' >&2; exit 1
fi
"""
OLD, NEW = "what it said before\n" * 9, "what it is to say, and it is longer\n" * 12


class Lost(ConnectionFailed):
    """The command's end was not seen."""


class Server:
    """This machine's shell, as a server that may end at a certain point.

    Attributes:
        sent: so many bytes of a command's input arrive; None for all.
        shell: what `sh` is there; they differ in what ends a script.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, "olddb1"
        self.sent: int | None = None
        self.shell = "sh"
        self.token: int | None = None
        self.programs = folder / "programs"
        self.programs.mkdir(parents=True)
        for name in PROGRAMS:
            program = shutil.which(name) or "/bin/true"
            if name == "systemctl":
                program = "/bin/true"
            places: dict[str, Any] = {
                "folder": folder,
                "name": name,
                "usual": os.environ["PATH"],
                "cat": shutil.which("cat"),
                "head": shutil.which("head"),
                "wc": shutil.which("wc"),
            }
            room = ROOM.format(**places) if name == "cat" else ""
            (self.programs / name).write_text(STAND_IN.format(room=room, program=program, **places))
            (self.programs / name).chmod(0o755)
        (folder / "plain").mkdir()
        (folder / "plain" / "systemctl").symlink_to("/bin/true")
        self.mend()

    def mend(self) -> None:
        """Nothing ends any more."""
        self.ends(programs=-1)

    def ends(self, *, programs: int = -1, room: int = -1, how: str = "power") -> None:
        """End everything before so many programs more, or within what `cat` writes."""
        for name, value in (("left", programs), ("room", room), ("how", how)):
            (self.folder / name).write_text(f"{value}\n")
        (self.folder / "begun").write_text("")

    @property
    def begun(self) -> int:
        """Programs that were begun since the last `ends`."""
        return (self.folder / "begun").stat().st_size

    def run(self, argv: Sequence[str], *, input: Any = "", ok: Sequence[int] | None = (0,), timeout: float = 30, **_: Any) -> Result:
        data = input.reveal() if isinstance(input, Secret) else input
        content = data.encode() if isinstance(data, str) else data
        if self.sent is not None and content:
            frame = Frame(content)
            done = self._start(frame.words(argv), frame.input[: self.sent], plain=True)
            answer = frame.read(done)
            if answer.code is None:
                raise Lost(f"{self.name}: {answer.end or 'the connection was lost'}", "", "")
            done = Result(answer.code, answer.stdout, answer.stderr)
        else:
            done = self._start([self.shell if argv[0] == "sh" else argv[0], *argv[1:]], content)
        if done.code < 0:
            raise Lost(f"{self.name} lost its power", "", "")
        if ok is not None and done.code not in ok:
            raise CommandFailed(f"{self.name}: {argv[0]} ended with exit code {done.code}", done.stderr, "")
        return done

    def _start(self, argv: Sequence[str], data: bytes, *, plain: bool = False) -> Result:
        path = f"{self.folder / 'plain' if plain else self.programs}:{os.environ['PATH']}"
        done = subprocess.run(argv, input=data, capture_output=True, check=False, env={**os.environ, "PATH": path}, start_new_session=True)
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def script(self, text: str, args: Sequence[str] = (), **options: Any) -> Result:
        return self.run(["sh", "-s", "--", *args], input="set -eu\n" + text, **options)

    def read(self, path: str, *, lines: int | None = None, timeout: float = 1) -> bytes | None:
        return Path(path).read_bytes() if Path(path).exists() else None

    def write(self, path: str, content: Any, *, mode: int = 0o600, owner: str = "root:root", timeout: float = 30) -> None:
        Host.write(self, path, content, mode=mode, owner=f"{os.getuid()}:{os.getgid()}", timeout=timeout)  # type: ignore[arg-type]


@dataclass
class Way:
    """One way of writing.

    Attributes:
        prepare: what is there before.
        act: writes.
        shown: what there is to be read.
    """

    prepare: Callable[[Path], Any]
    act: Callable[[Server, Path], Any]
    shown: Callable[[Path], Any]


def text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def write_text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def record(facts: dict[str, Any], revision: int) -> str:
    return WindowRecord("test", "identity", opened="then", number=1, revision=revision, facts=facts).to_json()


BEFORE, AFTER = record({"Window": {"hosts": "x" * 300}}, 1), record({"Window": {"hosts": "x" * 300}, "Step": {"began": 1.0}}, 2)


def put_record(server: Server, home: Path) -> None:
    file = RecordFile(server, str(home))  # type: ignore[arg-type]
    seen = file.raw()
    if seen.raw != (AFTER + "\n").encode() and not file.write(seen, AFTER):
        raise CommandFailed("olddb1: the record could not be written", "", "")


def written_before(home: Path) -> None:
    write_text(home / "window.json", BEFORE + "\n")
    write_text(home / "window.json.1", "{}\n" + "\n" * 140000)


def first_line(path: Path) -> str:
    return path.read_bytes().partition(b"\n")[0].decode()


def shut_gate(server: Server, home: Path) -> None:
    left = WindowRecord("test", "identity", opened="then")
    server.run(["sh", "-c", start_gate._SHUT, "sh", str(home / "run"), str(home / "var"), start_gate._window(left)])


def gate(home: Path) -> set[str | None]:
    return {text(home / "run" / "gate"), text(home / "var" / "gate")}


def end_transaction(server: Server, home: Path) -> None:
    listed = transactions._END.replace("list() {", "list() { printf '/old\\0/usr/lib/new-one\\0/usr/lib/new-two\\0'; return; ")
    server.script(re.sub(r"accounts\(\) \{.*?\}", "accounts() { printf 'cloud\\\\nroot\\\\n'; }", listed), [str(home)])


def begun_transaction(home: Path) -> None:
    (home / "before").write_text("/old\0")
    (home / "before.accounts").write_text("root\n")
    (home / "appeared").write_text("/earlier\0")
    (home / "appeared.accounts").write_text("earlier\n")


def put_data_back(server: Server, home: Path) -> None:
    class Leaving(undo.Leaving):
        def __init__(self) -> None:
            self.host: Any = server
            self.intend = lambda *_, **__: None

    names = {"FOLDER": str(home / "found"), "DATA_FOLDER": str(home / "data")}
    before = {name: vars(undo)[name] for name in names}
    vars(undo).update(names)
    try:
        Leaving()._data(Record("test", "then", unit="mariadb"), {})
    finally:
        vars(undo).update(before)


def changed_data(home: Path) -> None:
    for name in ("ibdata1", "mysql/user.frm", "shop/t.ibd"):
        write_text(home / "found/copies" / str(home / "data").lstrip("/") / name, OLD)
    write_text(home / "data/ibdata1", NEW)
    write_text(home / "data/ours.ibd", NEW)


def data(home: Path) -> dict[str, str] | None:
    """What is in the folder once the copy does not count any more."""
    if (home / "found/copies" / str(home / "data").lstrip("/")).exists():
        return None
    return {str(path.relative_to(home / "data")): path.read_text() for path in (home / "data").rglob("*") if path.is_file()}


def carried(home: Path) -> None:
    write_text(home / "file", NEW)
    write_text(home / "kept", OLD)


def keep_shipped(server: Server, home: Path) -> None:
    server.run(["sh", "-c", whole_files.KEEP, "sh", str(home / "db.properties"), str(home / "db.properties.shipped")])
    server.run(["sh", "-c", whole_files.COPY, "sh", str(home / "db.properties.shipped"), str(home / "db.properties")])


WAYS = {
    "a file that is replaced (db.properties, agent.properties, option files, unit files, keys, programs)": Way(
        lambda home: write_text(home / "file", OLD), lambda server, home: server.write(str(home / "file"), NEW), lambda home: text(home / "file")
    ),
    "a file that was not there": Way(
        lambda home: None, lambda server, home: server.write(str(home / "file"), NEW), lambda home: text(home / "file")
    ),
    "the record": Way(lambda home: write_text(home / "window.json", BEFORE + "\n"), put_record, lambda home: first_line(home / "window.json")),
    "the record's second write": Way(
        written_before,
        put_record,
        lambda home: first_line(home / "window.json"),
    ),
    "the gate": Way(lambda home: write_text(home / "run/gate", "another then\n"), shut_gate, lambda home: text(home / "run/gate")),
    "a run's number": Way(
        lambda home: write_text(home / "var/token.next", "7 somebody".ljust(127) + "\n"),
        lambda server, home: server.run(["sh", "-c", run_number.TAKE, "sh", str(home / "var"), str(home / "run"), "7", "me"]),
        lambda home: re.fullmatch(r"\d+ [^\n]{125}\n", text(home / "var/token.next") or "") is not None,
    ),
    "files as they are shipped, and as they were found": Way(
        lambda home: write_text(home / "db.properties", OLD), keep_shipped, lambda home: text(home / "db.properties")
    ),
    "what appeared in a transaction of packages": Way(
        begun_transaction, end_transaction, lambda home: set((home / "appeared").read_text().split("\0")) - {""}
    ),
    "who appeared in a transaction of packages": Way(
        begun_transaction, end_transaction, lambda home: set((home / "appeared.accounts").read_text().split())
    ),
    "the data folder that is put back": Way(changed_data, put_data_back, data),
    "what was carried over and is put back": Way(
        carried,
        lambda server, home: server.script(carry.PUT_BACK, [str(home / "file"), str(home / "kept")]) if (home / "kept").exists() else None,
        lambda home: (text(home / "file"), (home / "kept").exists() or text(home / "file") == OLD),
    ),
    "an account that is noted": Way(
        lambda home: None, lambda server, home: server.script(account_notes._NOTE, [str(home / "accounts"), "copy_1"]),
        lambda home: (home / "accounts/copy_1").exists(),
    ),
}  # fmt: skip


@pytest.fixture(params=WAYS, ids=lambda name: name.split(" (")[0].replace(" ", "-"))
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


def trial(server: Server, way: Way, home: Path) -> Iterator[None]:
    """One of them, from its beginning; what is done between is the test's."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    server.mend()
    server.sent = None
    way.prepare(home)
    yield


def outcomes(server: Server, way: Way, home: Path) -> tuple[Any, Any, int, int]:
    """What is read before and after, how many programs that takes, and how much `cat` writes."""
    next(trial(server, way, home))
    before = way.shown(home)
    way.act(server, home)
    return before, way.shown(home), server.begun, len(NEW.encode()) + 1


def left_over(home: Path) -> list[str]:
    return [str(path.relative_to(home)) for path in home.rglob("*") if re.search(r"\.new\.\d+$", path.name)]


def check(server: Server, way: Way, home: Path, wanted: tuple[Any, Any], at: str) -> None:
    found = way.shown(home)
    assert found in wanted, f"{at}: it says {str(found)[:200]!r}"
    server.mend()
    server.sent = None
    way.act(server, home)
    assert way.shown(home) == wanted[1], f"{at}: the same command again"
    assert left_over(home) == [], f"{at}: what was left over is gone"


def test_the_connection_ends_at_every_64th_byte(tmp_path: Path, way: Way) -> None:
    server, home = Server(tmp_path / "server"), tmp_path / "home"
    before, after, *_ = outcomes(server, way, home)
    for sent in range(0, 100_000, STEP):
        next(trial(server, way, home))
        server.sent = sent
        try:
            way.act(server, home)
        except Lost:
            assert way.shown(home) == before, f"{sent} bytes: nothing has begun"
        else:
            break  # all of it arrived
        if sent in (0, 10 * STEP):
            check(server, way, home, (before, after), f"{sent} bytes")
    assert way.shown(home) == after


@pytest.mark.parametrize("how", ["power", "half", "disk"])
def test_the_server_ends_before_every_program_and_within_it(tmp_path: Path, way: Way, how: str) -> None:
    server, home = Server(tmp_path / "server"), tmp_path / "home"
    server.shell = "bash" if how == "disk" and shutil.which("bash") else "sh"
    before, after, programs, _ = outcomes(server, way, home)
    ended = 0
    for turn in range(programs):
        next(trial(server, way, home))
        server.ends(programs=turn, how=how)
        try:
            way.act(server, home)
        except ParallelBuildError:
            ended += 1
        check(server, way, home, (before, after), f"before program {turn}, {how}")
    assert ended or programs == 0 or how == "disk"


@pytest.mark.parametrize("how", ["power", "disk"])
@pytest.mark.parametrize("name", [name for name in WAYS if "file" in name.split()[:2] or "record" in name])
def test_the_server_ends_at_every_64th_byte_that_it_writes(tmp_path: Path, name: str, how: str) -> None:
    server, home, way = Server(tmp_path / "server"), tmp_path / "home", WAYS[name]
    before, after, *_ = outcomes(server, way, home)
    for room in range(0, len(AFTER if "record" in name else NEW), STEP):
        next(trial(server, way, home))
        server.ends(room=room, how=how)
        with pytest.raises(ParallelBuildError):
            way.act(server, home)
        assert way.shown(home) == before
        if how == "disk":
            assert left_over(home) == [], "it takes no room on a full disk"
        check(server, way, home, (before, after), f"{room} bytes, {how}")


def test_a_fix_is_run_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients run an unterminated last statement at the end of their input: half of a DELETE has no WHERE."""
    server, ran = Server(tmp_path / "server"), tmp_path / "ran"
    client = tmp_path / "mariadb"
    client.write_text(f"#!/bin/sh\ncat >{ran}\n")
    client.chmod(0o755)

    class Words:
        def __enter__(self) -> list[str]:
            return [str(client)]

        def __exit__(self, *_: object) -> None:
            """Nothing was made."""

    monkeypatch.setattr(fixes, "client", lambda host: Words())
    statements = "\n".join(f"DELETE FROM cloud.t{number} WHERE id > {number};" for number in range(40)) + "\n"
    fix: Any = type("Fix", (), {"name": "x.sql", "checksum": "c", "reason": "r", "text": statements})
    context: Any = type("Context", (), {"intend": staticmethod(lambda *_, **__: None), "progress": staticmethod(lambda text: None)})
    for sent in range(0, 4000, STEP):
        server.sent = sent
        try:
            fixes._run(context, server, fix)  # type: ignore[arg-type]
        except ConnectionFailed:
            assert not ran.exists(), f"{sent} bytes"
        else:
            break
    assert ran.read_text() == statements


# Every redirection, copy or edit in a shell text of the package, and by what it is covered. A new one is looked at, and put here with its reason.
WRITES = re.compile(r""">>?\s*"?(?:\$[{{\w]|/etc|/var)|\bsed -i|\btee\b|\bcp -[a-z]+|\bmv\b|\bln -""")
KNOWN = {
    "cloudstack/setup.py": "links, and `mv` of the shipped file",
    "database/copy/account_notes.py": "above",
    "database/server/galera.py": "grastate.dat: a copy that is changed and renamed over it; a log in a temporary folder",
    "database/physical/files.py": "tables' files renamed into the data folder, on record before; what an interrupted one left is taken away and begun again",
    "machines/data_disk.py": "a program for a new machine's first start, run again until it has ended",
    "machines/existing/kept_logs.py": "a dump written as .part; hard links",
    "machines/existing/manifest.py": "a folder that is renamed when it is whole",
    "machines/existing/packages.py": "a list that is renamed when it is whole",
    "machines/existing/undo.py": "above",
    "machines/provisioning.py": "a new machine's first start",
    "operations/carry.py": "above, and `write`",
    "operations/dump_file.py": "a dump written as .part; questions in a temporary folder",
    "operations/start_gate.py": "above",
    "records/created.py": "lines that are appended; one that was torn is ended first",
    "records/record_file.py": "above",
    "records/run_number.py": "above",
    "records/window.py": "the journal: words for people, appended line by line",
    "remote/dnf.py": "names of keys, appended line by line",
    "remote/frame.py": "the run's token, 128 bytes in place; the process list in memory",
    "remote/kept_packages.py": "a folder that is renamed when it is whole, and fetched again where it is not there",
    "remote/package_shell.py": "a temporary file",
    "remote/transactions.py": "above",
    "remote/whole_files.py": "above",
}


def test_there_is_no_other_way() -> None:
    package = Path(setup.__file__).parent.parent
    found = set()
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] in ("components", "provider", "cli", "stack"):
            continue  # these run on the operator's machine
        shell = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith(("#", '"""')))
        shell = re.sub(r">\s*/dev/null|2>&1|->", "", shell)
        if WRITES.search(shell):
            found.add(str(path.relative_to(package)))
    assert found - KNOWN.keys() == set(), "look at how they write, and at what is left where they end in the middle"
