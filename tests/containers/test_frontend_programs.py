"""The files of `examples/frontend/` with the real HAProxy and keepalived: turned as a window and a rollback turn them, and the address moved, under calls.

Two network namespaces stand for the machines, a third for the users and the management servers.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.images import front_root
from parallel_build.cancel import CancelToken
from parallel_build.configuration import Server, load
from parallel_build.machines.container import namespace
from parallel_build.machines.local_commands import run
from parallel_build.operations import frontends
from parallel_build.operations.context import Context
from parallel_build.project import CODE
from parallel_build.records.front_place import places_of
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from parallel_build.remote.openssh import Result
from parallel_build.resolved_stack import Site
from tests.containers.callers import calling
from tests.fast.asked_host import AskedHost
from tests.fast.memory_records import Records
from tests.fast.sites import site, values
from tools.errors import ToolError

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

EXAMPLE = CODE / "examples/frontend"
ADDRESS, BRIDGE = "10.91.0.60", "br0"
SERVERS = {"10.91.0.11": "original", "10.91.0.12": "original", "10.91.0.41": "new", "10.91.0.42": "new"}
LIMIT = 30.0
USERS = 4
MOVING = 2.0  # seconds around a move of the address, in which a connection that is open then is cut with it


class Management(http.server.BaseHTTPRequestHandler):
    """A management server: 401 to an unsigned call, its side to a signed one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        words = SERVERS[str(self.connection.getsockname()[0])].encode()
        self.send_response(200 if "signature=" in self.path else 401)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        with contextlib.suppress(OSError):  # a check hangs up when it has seen the status
            self.wfile.write(words)

    do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class Front:
    """One of the two machines: a namespace with the programs in it.

    Args:
        number: 1 or 2.
        outer: namespace of the bridge.
    """

    def __init__(self, number: int, outer: str, folder: Path, root: Path) -> None:
        self.name, self.space, self.folder = f"front{number}", f"{outer}-{number}", folder / f"front{number}"
        self.number, self.outer, self.root = number, outer, root
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.folder.mkdir()

    def make(self) -> None:
        """The namespace, its card and its address; the example's files with paths of its own."""
        card = f"v{self.number}"
        run(["ip", "netns", "add", self.space])
        run(["ip", "-n", self.outer, "link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", self.space])
        run(["ip", "-n", self.outer, "link", "set", card, "master", BRIDGE, "up"])
        run(["ip", "-n", self.space, "address", "add", f"10.91.0.6{self.number}/24", "dev", "eth0"])
        for link in ("lo", "eth0"):
            run(["ip", "-n", self.space, "link", "set", link, "up"])
        text = (EXAMPLE / "haproxy.cfg").read_text().replace("/var/lib/haproxy/servers.state", f"{self.folder}/servers.state")
        text = text.replace("/run/haproxy", str(self.folder))
        own = ("    user ", "    group ", "    chroot ", "    log ")
        (self.folder / "haproxy.cfg").write_text("".join(line for line in text.splitlines(True) if not line.startswith(own)))
        mover = (EXAMPLE / "keepalived.conf").read_text()
        (self.folder / "keepalived.conf").write_text(mover.replace("/usr/bin/systemctl is-active --quiet haproxy", "/bin/true"))

    def program(self, path: str, *words: str) -> list[str]:
        """A program of the image, with the image's own libraries."""
        libraries = f"{self.root}/usr/lib/x86_64-linux-gnu"
        return [f"{libraries}/ld-linux-x86-64.so.2", "--library-path", libraries, f"{self.root}{path}", *words]

    def start(self, name: str) -> None:
        """Start HAProxy or keepalived here."""
        pids = [word for letter, kind in (("-p", "k"), ("-r", "v"), ("-c", "c")) for word in (letter, f"{self.folder}/{kind}.pid")]
        words = {
            "haproxy": self.program("/usr/sbin/haproxy", "-f", f"{self.folder}/haproxy.cfg"),
            "keepalived": self.program("/usr/sbin/keepalived", "-n", "-l", "-i", self.name, "-f", f"{self.folder}/keepalived.conf", *pids),
        }[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                ["ip", "netns", "exec", self.space, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self, name: str) -> None:
        """End one of them as systemd would."""
        process = self.running.pop(name)
        process.terminate()
        process.wait(timeout=20)

    def holds(self) -> bool:
        """Whether it has the address."""
        return f" {ADDRESS}/" in run(["ip", "-n", self.space, "-o", "address", "show", "dev", "eth0"])

    def turn(self, word: str) -> None:
        """Run the example's program as the tool would."""
        socat = self.folder / "socat"
        socat.write_text("#!/bin/sh\nexec " + " ".join(self.program("/usr/bin/socat")) + ' "$@"\n')
        socat.chmod(0o755)
        kept = {"HAPROXY_SOCKET": f"{self.folder}/admin.sock", "HAPROXY_STATE": f"{self.folder}/servers.state"}
        environment = {**os.environ, **kept, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        done = subprocess.run(
            [str(EXAMPLE / "cloudstack-front"), word], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, (self.name, word, done.stderr, (self.folder / "haproxy.log").read_text()[-2000:])

    def close(self) -> None:
        """End what runs here, and remove the namespace."""
        for name in list(self.running):
            self.stop(name)
        subprocess.run(["ip", "netns", "delete", self.space], check=False, capture_output=True, timeout=30)


@contextmanager
def management(outer: str) -> Iterator[None]:
    """The four management servers."""

    def listen(address: str) -> http.server.ThreadingHTTPServer:
        return namespace.inside(outer, lambda: http.server.ThreadingHTTPServer((address, 8080), Management))

    servers = [listen(address) for address in SERVERS]
    for each in servers:
        threading.Thread(target=each.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        for each in servers:
            each.shutdown()
            each.server_close()


@pytest.fixture
def fronts(tmp_path: Path) -> Iterator[list[Front]]:
    """Both machines with their programs, before four management servers."""
    try:
        root = front_root()
    except ToolError as error:
        pytest.skip(f"no image with HAProxy and keepalived: {error}")
    outer = f"cslab-f{os.getpid()}"
    run(["ip", "netns", "add", outer])
    made = [Front(number, outer, tmp_path, root) for number in (1, 2)]
    try:
        run(["ip", "-n", outer, "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0"])
        for address in ("10.91.0.1", *SERVERS):
            run(["ip", "-n", outer, "address", "add", f"{address}/24", "dev", BRIDGE])
        run(["ip", "-n", outer, "link", "set", BRIDGE, "up"])
        for front in made:
            front.make()
        with management(outer):
            for front in made:
                front.start("haproxy")
                front.start("keepalived")
            yield made
    finally:
        for front in made:
            front.close()
        run(["ip", "netns", "delete", outer])


def await_holder(fronts: list[Front], other_than: Front | None = None) -> Front:
    """Wait until one alone has the address; whoever is there first gets it."""
    end = time.monotonic() + LIMIT
    while len(found := [front for front in fronts if front.holds()]) != 1 or found[0] is other_than:
        assert time.monotonic() < end, [(front.folder / "keepalived.log").read_text()[-1500:] for front in fronts]
        time.sleep(0.1)
    return found[0]


@contextmanager
def callers(outer: str) -> Iterator[list[tuple[float, str]]]:
    """Users who call all the time, every second one with a connection that he would keep; what came of each call, and when it began."""
    found: list[tuple[float, str]] = []
    done = threading.Event()

    def ask(keeps: bool) -> None:
        namespace.enter(outer)
        connection = http.client.HTTPConnection(ADDRESS, 8080, timeout=20)
        while not done.wait(0.05):
            began = time.monotonic()
            try:
                connection.request(
                    "POST" if keeps else "GET", "/client/api?command=listZones&response=json&signature=x", body=b"" if keeps else None
                )
                answer = connection.getresponse()
                words = answer.read().decode()
                found.append((began, words if answer.status == 200 else str(answer.status)))
            except OSError as error:
                found.append((began, type(error).__name__))
                connection.close()
            if not keeps:
                connection.close()

    threads = [threading.Thread(target=ask, args=(bool(number % 2),)) for number in range(USERS)]
    with calling(threads, done):
        yield found


class Machines:
    """What the tool reaches over SSH elsewhere."""

    def __init__(self, fronts: list[Front]) -> None:
        self.fronts = {front.name: front for front in fronts}

    def host(self, server: Server) -> Machine:
        """One of them."""
        return Machine(self.fronts[server.name])


class Machine(AskedHost):
    """One machine, on which the declared commands are run."""

    def __init__(self, front: Front) -> None:
        super().__init__(front.name)
        self.front = front

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        """The example's program; no other is declared."""
        program, word = argv
        assert program == "/usr/local/sbin/cloudstack-front"
        self.front.turn(word)
        return Result(0, "", "")


def declared() -> Site:
    """The stack with the example's declaration."""
    document = yaml.safe_load((EXAMPLE / "frontend.yaml").read_text())
    given = values(window=document["cloudstack-parallel-build:window"])
    given["original"] |= document["cloudstack-parallel-build:original"]
    return replace(site(), configuration=load(given, "test"))


def test_no_call_is_lost_in_a_window_and_a_rollback_though_the_address_moves(fronts: list[Front], tmp_path: Path) -> None:
    stack, shown = declared(), list[str]()
    context = Context(stack, Machines(fronts), RunFolder(tmp_path / "runs", "test", []), CancelToken(), shown.append, "Test")  # type: ignore[arg-type]
    records = Records(WindowRecord("test", stack.identity, opened="then"), stack)
    await_holder(fronts)
    for front in fronts:
        front.turn("original")  # waits until a check has seen a server of it
    window: tuple[tuple[Callable[[], object], bool], ...] = (
        (lambda: frontends.close(context, records, frontends.USERS), True),
        (lambda: frontends.to_new(context, records), False),
        (lambda: frontends.close_on_new(context, records), True),
        (lambda: frontends.to_original(context, records, frontends.USERS), False),
    )
    moves: list[float] = []
    with callers(fronts[0].outer) as found:
        time.sleep(2)
        for act, closes in window:
            act()
            if closes:
                holder = await_holder(fronts)
                moves.append(time.monotonic())
                holder.stop("keepalived")
                await_holder(fronts, other_than=holder)
                moved = time.monotonic()
                time.sleep(1)
                assert {words for began, words in found if began > moved} == {"503"}, "the other machine was turned as well"
                holder.start("keepalived")
            else:
                time.sleep(1)
    counted = Counter(words for _, words in found)
    print(f"  {len(found)} calls: {dict(counted)}")
    cut = [began for began, words in found if words not in ("original", "new", "503")]
    assert len(cut) <= USERS * len(moves) and all(any(abs(began - moved) < MOVING for moved in moves) for began in cut), (moves, cut)
    served = [words for began, words in found if words != "503" and began not in cut]
    sides = [each for number, each in enumerate(served) if served[number - 1 : number] != [each]]
    assert sides == ["original", "new", "original"], "one side after the other, and never both"
    assert counted["503"] > 20 and records.record is not None
    assert places_of(records.record.facts["Frontend"]) == {}
