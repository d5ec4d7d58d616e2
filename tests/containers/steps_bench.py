"""Real machines for step tests: containers on a bridge in a namespace of the test's own, and a `Site` that describes them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from parallel_build.cancel import CancelToken
from parallel_build.configuration import load, load_secrets
from parallel_build.errors import Cancelled
from parallel_build.machines.container import machine as container
from parallel_build.machines.container import namespace
from parallel_build.machines.provisioning import File, Provisioning
from parallel_build.operations.context import Context, Outputs
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret
from parallel_build.steps.base import Step

T = TypeVar("T")
BRIDGE = "bench0"
ADDRESSES = {
    "olddb1": "10.91.0.13",
    "oldms1": "10.91.0.11",
    "kvm1": "10.91.0.21",
    "newdb1": "10.91.0.31",
    "newdb2": "10.91.0.32",
    "newms1": "10.91.0.41",
}
SECRETS = {
    "originalApiKey": "key-of-the-test",
    "originalApiSecret": "secret-of-the-test",
    "cloudPassword": "cloudPw.One_1",
    "replicationPassword": "replPw.Two_2",
    "managementKey": "mgmtKey-three3",
}


def new_key(path: Path) -> tuple[str, str]:
    """Make an ed25519 key pair; return its private and public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path.read_text(), Path(f"{path}.pub").read_text().strip()


def configuration(**changes: Any) -> dict[str, Any]:
    """The stack's plain values; `changes` replace whole sections."""
    server = {name: {"name": name, "address": address} for name, address in ADDRESSES.items()}
    machine = {name: {**server[name], "memory": 1024, "platform": "existing"} for name in ("newdb1", "newdb2", "newms1")}
    return {
        "original": {
            "version": "4.20.3.0",
            "management": [{**server["oldms1"], "usage": True}],
            "database": {"source": server["olddb1"]},
            "api": {"url": f"http://{ADDRESSES['oldms1']}:8080/client/api"},
            "hypervisors": [server["kvm1"]],
        },
        "new": {
            "version": "4.22.1.0",
            "platform": "existing",
            "management": [machine["newms1"]],
            "database": {"source": machine["newdb1"], "replica": machine["newdb2"]},
        },
        "window": {"userAccess": {"administrators": ["10.91.0.1/32"]}},
        **changes,
    }


@dataclass
class Bench:
    """The running machines.

    Attributes:
        folder: everything the test keeps.
        space: name of the namespace.
        root: root file system of the machines, by machine name, or one for all.
        host_keys: public host keys by machine.
        lines: every line of progress so far.
    """

    folder: Path
    space: str
    root: Path
    host_keys: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def machine(self, name: str, *, files: tuple[File, ...] = (), enabled_units: tuple[str, ...] = ()) -> None:
        """Make a machine and switch it on."""
        private, public = new_key(self.folder / f"host-{name}")
        self.host_keys[name] = public
        container.create(
            container.ContainerSpec(
                name,
                self.root,
                self.folder / "machines",
                self.space,
                BRIDGE,
                Provisioning(
                    hostname=name,
                    address=ADDRESSES[name],
                    host_key_private=Secret(private),
                    host_key_public=public,
                    authorized_keys=((self.folder / "operator.pub").read_text().strip(),),
                    files=files,
                    enabled_units=enabled_units,
                ),
            )
        )

    def site(self, values: dict[str, Any] | None = None, **secrets: str) -> Site:
        """The stack, with the operator's key and the machines' host keys."""
        values = values or configuration()
        values["ssh"] = {"identityFile": str(self.folder / "operator")}
        return Site("bench", load(values, "bench"), load_secrets({**SECRETS, **secrets}, "bench"), self.host_keys)

    @contextlib.contextmanager
    def context(self, site: Site, step: str, tell: Callable[[str], None] | None = None) -> Iterator[Context]:
        """A context as the provider gives a step."""
        cancel = CancelToken()
        connections = Connections(site, cancel)
        run = RunFolder(self.folder / "runs", site.stack, site.secrets.all())

        def say(line: str) -> None:
            self.lines.append(line)
            if tell:
                tell(line)

        try:
            yield Context(site, connections, run, cancel, say, step=step)
        finally:
            self.inside(connections.close)

    def inside(self, call: Callable[[], T]) -> T:
        """Run `call` where the machines can be reached."""
        return namespace.inside(self.space, call)

    def apply(self, step: Step, site: Site, tell: Callable[[str], None] | None = None) -> tuple[Outputs, bool]:
        """Apply; return the evidence and whether anything was changed."""
        with self.context(site, step.type, tell) as context:
            outputs = self.inside(lambda: step.apply(context))
            return outputs, context.acted

    def revert(self, step: Step, site: Site, tell: Callable[[str], None] | None = None) -> bool:
        """Revert; return whether anything was changed."""
        with self.context(site, step.type, tell) as context:
            self.inside(lambda: step.revert(context))
            return context.acted

    def run(self, name: str, *argv: str, input: str = "") -> str:
        """Run a command on a machine and return what it printed."""
        site = self.site()
        with self.context(site, "look") as context:
            server = next(
                server for server in [*site.configuration.original_servers(), *site.configuration.new_machines()] if server.name == name
            )
            return self.inside(lambda: context.host(server).run(argv, timeout=120, input=input).stdout)

    def sql(self, name: str, text: str) -> str:
        """Run SQL on a machine as root; return what it printed, without column names."""
        client = "mysql" if "mysql-" in self.root.name else "mariadb"
        return self.run(name, client, "-N", "-B", input=text)


@contextlib.contextmanager
def bench(root: Path) -> Iterator[Bench]:
    """A namespace with a bridge, deleted with everything in it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    space = folder.name.replace("_", "-")
    new_key(folder / "operator")

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, timeout=30)

    ip("netns", "add", space)
    made = Bench(folder, space, root)
    try:
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "link", "add", BRIDGE, "type", "bridge")
        ip("-n", space, "address", "add", "10.91.0.1/24", "dev", BRIDGE)
        ip("-n", space, "link", "set", BRIDGE, "up")
        yield made
    finally:
        machines = folder / "machines"
        for name in container.names(machines) if machines.exists() else []:
            container.delete(machines, name)
        ip("netns", "delete", space)
        shutil.rmtree(folder, ignore_errors=True)


def interrupted(run: Callable[[Callable[[str], None]], Any], *, most: int = 40) -> list[str]:
    """Run something again and again, cancelled at each line of progress that was not seen before, until it comes to its end.

    Args:
        run: gets each line that is reported; what it raises passes through.
        most: runs at most.
    Returns:
        The lines it was interrupted at.
    """
    seen: list[str] = []

    def tell(line: str) -> None:
        if line not in seen:
            seen.append(line)
            raise Cancelled(f"interrupted at: {line}", "the test wants it", "go on")

    for _ in range(most):
        try:
            run(tell)
        except Cancelled:
            continue
        return seen
    raise AssertionError(f"not at its end after {most} runs: {seen}")
