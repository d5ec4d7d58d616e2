"""Loads the original's database - generated, or a dump that was given - into a MariaDB or MySQL server."""

from __future__ import annotations

import dataclasses
import gzip
import lzma
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, cast

from lab.database.errors import DumpError, LoadFailed
from lab.database.generator import CREATE_DATABASE, generate
from lab.database.plan import DatabasePlan, Generated

_CHUNK = 1 << 20
_STDERR_KEPT = 4000
# order in which databases go in: views of cloud read no other database, so any order would do; this one is CloudStack's
_ORDER = ("cloud", "cloud_usage", "cloudbridge")
_FAST = "SET SESSION unique_checks = 0, SESSION foreign_key_checks = 0, SESSION autocommit = 0;\n"

Progress = Callable[[int], None]
Source = DatabasePlan | Path | Mapping[str, Path]


@dataclass(frozen=True)
class Accounts:
    """The accounts of user `cloud` to make before the load: views and procedures name cloud@localhost as their definer.

    Args:
        password: their password; it goes through standard input only.
        hosts: the hosts that they come from, as MySQL writes them.
    """

    password: str = field(repr=False)
    hosts: tuple[str, ...] = ("localhost", "%")

    def sql(self) -> str:
        """Statements that both families of servers take; an account that is there already gets this password."""
        lines = []
        for host in self.hosts:
            account = f"'cloud'@{_quoted(host)}"
            lines.append(f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {_quoted(self.password)};")
            lines.append(f"ALTER USER {account} IDENTIFIED BY {_quoted(self.password)};")
            lines += [f"GRANT ALL PRIVILEGES ON `{name}`.* TO {account};" for name in ("cloud", "cloud\\_usage", "cloudbridge")]
            lines.append(f"GRANT PROCESS ON *.* TO {account};")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Loaded:
    """What a load did: bytes of SQL, seconds, and what is known of the database if it was generated."""

    bytes: int
    seconds: float
    generated: Generated | None


def load(
    client: Sequence[str],
    source: Source,
    *,
    accounts: Accounts | None = None,
    progress: Progress | None = None,
    timeout: float = 3600,
) -> Loaded:
    """Load databases through a client program, streaming.

    Args:
        client: the command of a `mariadb` or `mysql` client that reads SQL from standard input as an administrator, for
            example `["ssh", ..., "mariadb"]`.
        source: a plan; one file that makes or names its databases itself; or a file for each database by name. Files may
            be plain, .gz, .xz or .zst.
        accounts: accounts of user `cloud` to make first; None leaves the accounts as they are.
        progress: called with the bytes sent so far, about once for each megabyte.
        timeout: seconds after which the client is ended.

    Raises:
        DumpError: a file is missing, is no dump, or can't be unpacked.
        LoadFailed: the client or the server refused; the message has the server's own first line. What had been loaded
            before it stays: drop the databases before trying again.
    """
    begun = time.monotonic()
    with _Client(client, timeout, progress) as sink:
        if accounts is not None:
            sink.write(accounts.sql().encode())
        generated = None
        if isinstance(source, DatabasePlan):
            generated = generate(source, cast(BinaryIO, sink))
        elif isinstance(source, Path):
            _send_file(sink, source, None)
        else:
            for name in sorted(source, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n)):
                _send_file(sink, source[name], name)
    result = Loaded(sink.written, time.monotonic() - begun, generated)
    if generated is not None:
        result = dataclasses.replace(result, generated=dataclasses.replace(generated, bytes=sink.written))
    return result


def feed(client: Sequence[str], statements: Iterable[bytes], *, timeout: float = 3600) -> None:
    """Send statements through a client program. Raises LoadFailed as `load` does."""
    with _Client(client, timeout, None) as sink:
        for text in statements:
            sink.write(text)


def _send_file(sink: _Client, path: Path, database: str | None) -> None:
    if database is not None:
        name = database.replace("`", "``")
        sink.write(CREATE_DATABASE.format(name=name).encode())
    sink.write(_FAST.encode())
    with opened(path) as stream:
        while chunk := stream.read(_CHUNK):
            sink.write(chunk)
    sink.write(b"\nCOMMIT;\n")


class _Client:
    """A client program that is being fed; `written` counts bytes. Its standard error is read while it runs."""

    def __init__(self, command: Sequence[str], timeout: float, progress: Progress | None) -> None:
        self._command, self._timeout, self._progress = list(command), timeout, progress
        self._errors = b""
        self._timed_out = threading.Event()
        self._ended = False
        self._reported = 0
        self.written = 0

    def __enter__(self) -> _Client:
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise LoadFailed(
                f"the database client {self._command[0]!r} could not be started",
                str(error),
                "install it, or name a different one",
            ) from error
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        self._timer = threading.Timer(self._timeout, self._expire)
        self._timer.daemon = True
        self._timer.start()
        return self

    def write(self, data: bytes) -> int:
        """Send bytes; blocks while the server is busy."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
        except BrokenPipeError:
            raise self._failure() from None
        self.written += len(data)
        if self._progress is not None and self.written - self._reported >= _CHUNK:
            self._reported = self.written
            self._progress(self.written)
        return len(data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._ended:
            return
        if kind is not None:
            # ended here, so that a half-sent statement is not taken for a whole one
            self._process.kill()
            self._end()
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            raise self._failure() from None
        self._end()
        if self._process.returncode != 0:
            raise self._failure()

    def _end(self) -> None:
        self._process.wait()
        self._timer.cancel()
        self._reader.join()
        self._ended = True

    def _expire(self) -> None:
        self._timed_out.set()
        self._process.kill()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            # A client first repeats the statement that failed, which may be long.
            if len(self._errors) < _STDERR_KEPT or line.startswith(b"ERROR"):
                self._errors += line

    def _failure(self) -> LoadFailed:
        self._end()
        if self._timed_out.is_set():
            return LoadFailed(
                f"loading took longer than {self._timeout:.0f} seconds and was ended",
                f"{self.written >> 20} MB had been sent",
                "drop the databases, and allow more time or look at the server",
            )
        lines = [line for line in self._errors.decode(errors="replace").splitlines() if line.strip()]
        first = next((line for line in lines if "ERROR" in line), lines[0] if lines else f"exit code {self._process.returncode}")
        return LoadFailed(f"the database server refused the load after {self.written >> 20} MB", first.strip(), _remedy(first))


def _remedy(error: str) -> str:
    if "1449" in error:
        return "a view's definer does not exist as an account: let the load make the accounts, or make it first"
    if "1050" in error or "1062" in error:
        return "the databases are not empty: drop them first"
    return "drop the databases before trying again"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A dump's bytes, unpacked by what its name ends in.

    Raises:
        DumpError: it is not there, or not what its name says.
    """
    if not path.is_file():
        raise DumpError(f"the dump {path} is not there", "", "give the path of a file")
    try:
        if path.suffix == ".zst":
            with _unpacked_by(path, ["zstd", "-dcq", "--", str(path)]) as stream:
                yield stream
        elif path.suffix in (".gz", ".xz"):
            with gzip.open(path, "rb") if path.suffix == ".gz" else lzma.open(path, "rb") as stream:
                yield cast(IO[bytes], stream)
        else:
            with path.open("rb") as stream:
                yield stream
    except (gzip.BadGzipFile, lzma.LZMAError, EOFError) as error:
        raise DumpError(f"the dump {path} can't be unpacked", str(error), "copy it again and compare checksums") from error


@contextmanager
def _unpacked_by(path: Path, command: list[str]) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            raise DumpError(f"{command[0]} is needed to unpack {path}", str(error), f"install {command[0]}") from error
        assert process.stdout is not None
        try:
            yield process.stdout
            whole = not process.stdout.read(1)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.stdout.close()
        # a reader may stop before the end: then the unpacker ends by SIGPIPE, and that is no fault of the file
        if process.wait() != 0 and whole:
            errors.seek(0)
            text = errors.read().decode(errors="replace").strip()
            raise DumpError(f"the dump {path} can't be unpacked", text, "copy it again and compare checksums")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
