"""Two machines with HAProxy and keepalived before the lab's management servers, with the files of `examples/frontend/` as they are, and users who call."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cs
import requests
import yaml

from lab.files import Lab
from lab.hosts import Sessions, sessions
from lab.images import front_root
from lab.machines import BRIDGE, PREFIX, Machine
from parallel_build.machines.container import machine as container
from parallel_build.machines.container import namespace
from parallel_build.machines.provisioning import File, Provisioning
from parallel_build.project import CODE
from tests.containers.callers import calling
from tests.containers.conftest import LabRunner

EXAMPLE = CODE / "examples/frontend"
FRONTS = (Machine("front1", "10.91.0.61", "front"), Machine("front2", "10.91.0.62", "front"))
ADDRESS = "10.91.0.60"
URL = f"http://{ADDRESS}:8080/client/api"
PROGRAM = "/usr/local/sbin/cloudstack-front"
FILES = (
    ("haproxy.cfg", "/etc/haproxy/haproxy.cfg", 0o644),
    ("keepalived.conf", "/etc/keepalived/keepalived.conf", 0o644),
    ("cloudstack-front", PROGRAM, 0o755),
)
PREFIX_OF_KEYS = "cloudstack-parallel-build:"
EVERY = 0.2  # seconds between two calls of one user


def make(lab: Lab) -> None:
    """Make both machines; HAProxy and keepalived start with them."""
    root = front_root()
    for machine in FRONTS:
        private, public = lab.key(machine.name)
        given = Provisioning(
            machine.name, machine.address, private, public, (lab.operator_key(),), prefix=PREFIX,
            files=tuple(File(path, (EXAMPLE / name).read_text(), mode) for name, path, mode in FILES),
            enabled_units=("haproxy.service", "keepalived.service"),
        )  # fmt: skip
        container.create(container.ContainerSpec(machine.name, root, lab.original, lab.namespace, BRIDGE, given))


def declare(lab: Lab) -> None:
    """Put the example's declaration into the lab's stack file, with the machines' host keys."""
    document, example = yaml.safe_load(lab.stack_file.read_text()), yaml.safe_load((EXAMPLE / "frontend.yaml").read_text())
    config = document["config"]
    config[f"{PREFIX_OF_KEYS}original"] |= example[f"{PREFIX_OF_KEYS}original"]
    config[f"{PREFIX_OF_KEYS}window"] |= example[f"{PREFIX_OF_KEYS}window"]
    for host in config[f"{PREFIX_OF_KEYS}original"]["frontend"][0]["hosts"]:
        host["hostKey"] = lab.key(host["name"])[1]
    lab.stack_file.write_text(yaml.safe_dump(document, sort_keys=False))


@contextmanager
def method(lab: Lab, name: str) -> Iterator[None]:
    """Have the lab's stack file keep users out another way."""
    text = lab.stack_file.read_text()
    document = yaml.safe_load(text)
    document["config"][f"{PREFIX_OF_KEYS}window"]["userAccess"]["method"] = name
    lab.stack_file.write_text(yaml.safe_dump(document, sort_keys=False))
    try:
        yield
    finally:
        lab.stack_file.write_text(text)


class Fronts:
    """The two machines and what they show."""

    def __init__(self, runner: LabRunner) -> None:
        self.lab = Lab(runner.name)

    def shell(self, machine: Machine, command: str, check: bool = True) -> str:
        """Run a command on one and return what it printed."""

        def run() -> str:
            with sessions(self.lab) as opened:
                return self._run(opened, machine, command, check)

        return namespace.inside(self.lab.namespace, run)

    @staticmethod
    def _run(opened: Sessions, machine: Machine, command: str, check: bool) -> str:
        return opened[machine].run(["sh", "-c", command], timeout=60, ok=(0,) if check else None).stdout

    def holders(self) -> list[Machine]:
        """Who has the address, as each of them shows it; for a moment of a move it may be neither of them, or both."""
        return [each for each in FRONTS if f" {ADDRESS}/" in self.shell(each, "ip -o addr show dev eth0", check=False)]

    def await_holder(self, other_than: Machine | None = None, limit: float = 30) -> Machine:
        """Wait until one alone has the address: without preemption that is whoever was there first."""
        end = time.monotonic() + limit
        while len(found := self.holders()) != 1 or found[0] == other_than:
            assert time.monotonic() < end, f"{ADDRESS} is held by {[each.name for each in found]}"
            time.sleep(0.2)
        return found[0]

    def leads(self, machine: Machine) -> set[str]:
        """The servers that are not in maintenance on one machine."""
        printed = self.shell(
            machine, "echo 'show servers state cloudstack' | socat stdio UNIX-CONNECT:/run/haproxy/admin.sock", check=False
        )
        rows = [line.split() for line in printed.splitlines() if line[:1].isdigit() and len(line.split()) > 7]
        return {row[3] for row in rows if not int(row[6]) & 1}

    def await_answer(self, machine: Machine, limit: float = 30) -> None:
        """Wait until HAProxy answers on one machine."""
        end = time.monotonic() + limit
        while (
            "haproxy" not in self.shell(machine, "echo 'show info' | socat stdio UNIX-CONNECT:/run/haproxy/admin.sock", check=False).lower()
        ):
            assert time.monotonic() < end, f"HAProxy does not answer on {machine.name}"
            time.sleep(0.2)


@dataclass
class Users:
    """Clients of the library `cs` that call through the front all the time.

    Attributes:
        calls: of each call when it was begun and ended, and what came of it.
    """

    calls: list[tuple[float, float, str]] = field(default_factory=list)

    def outcomes(self, since: float = 0.0) -> list[str]:
        """What came of the calls, in the order of their ends, each word once in a row."""
        found: list[str] = []
        for _, ended, words in sorted(self.calls, key=lambda call: call[1]):
            if ended >= since and words not in found[-1:]:
                found.append(words)
        return found

    def await_word(self, words: str, limit: float = 30) -> None:
        """Wait until a call that begins now has come to this."""
        began = time.monotonic()
        while not any(call[0] >= began and call[2] == words for call in list(self.calls)):
            assert time.monotonic() < began + limit, f"users see {self.outcomes()[-1:]}, not {words}"
            time.sleep(0.1)

    def broken(self) -> list[tuple[float, float, str]]:
        """Calls that were neither served nor answered with 503."""
        return [call for call in self.calls if not call[2].startswith("serves ") and call[2] != "503"]


def _call(client: Any) -> str:
    try:
        return f"serves {client.listCapabilities()['capability']['cloudstackversion']}"
    except cs.CloudStackException as error:
        return str(error.response.status_code) if error.response is not None else f"{error}"[:120]
    except requests.RequestException as error:
        return f"{type(error).__name__}: {error}"[-160:]


@contextmanager
def users(lab: Lab, count: int = 4) -> Iterator[Users]:
    """Users while they are needed: every second one opens a connection for each call, the others keep theirs."""
    kept, done, found = lab.secrets(), threading.Event(), Users()
    key, secret = kept.must("original_api_key").reveal(), kept.must("original_api_secret").reveal()

    def client(number: int) -> Any:
        method, session = ("get", "post")[number % 2], requests.Session()
        return cs.CloudStack(endpoint=URL, key=key, secret=secret, timeout=30, retry=0, method=method, session=session)

    def ask(number: int) -> None:
        namespace.enter(lab.namespace)
        one = client(number)
        while not done.wait(EVERY):
            one = one if number % 2 else client(number)
            began = time.monotonic()
            words = _call(one)
            found.calls.append((began, time.monotonic(), words))

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(count)]
    with calling(threads, done):
        yield found
