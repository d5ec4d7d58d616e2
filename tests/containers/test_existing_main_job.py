"""The main job on servers that are there already, reached through a jump host: built, prepared, switched, and destroyed to go back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import bringup, checksums, stack, status, takedown, verification
from lab.files import Lab, Options
from lab.hosts import sessions
from lab.images import base_root
from lab.machines import BRIDGE, PREFIX
from parallel_build.configuration import Phase
from parallel_build.machines.container import machine as container
from parallel_build.machines.provisioning import Provisioning
from tests.containers.existing_stand import difference, plain_root, snapshot
from tools.cache import remove, write_atomically

pytestmark = pytest.mark.containers

SERVERS = {"newdb1": "10.91.0.31", "newdb2": "10.91.0.32", "newms1": "10.91.0.41"}
JUMP = ("jump", "10.91.0.60")
SECTION = "cloudstack-parallel-build:"


def in_a_thread(call: Callable[[], None]) -> None:
    """Run `call` in a thread of its own: it enters the lab's network, which the rest of the test run must not."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:  # Handed to the caller's thread.
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@dataclass
class Job:
    """A lab whose new servers are there before the stack is.

    Attributes:
        lab: it.
        plain: root without any database package; base: root with them.
        before: every path of each server as it was found.
    """

    lab: Lab
    plain: Path
    base: Path
    before: dict[str, dict[str, str]] = field(default_factory=dict)

    def original(self) -> None:
        """The original cloud, and the stack's configuration, but nothing of the stack."""
        options = Options(hosts="containers", management=1, rows=2000)
        self.lab.begin(options)
        for stage in ("built", "prepared"):
            self.lab.mark(stage)  # so that bringing up ends before the stack's phases
        bringup.up(self.lab, options, {})

    def servers(self) -> None:
        """The servers that are there: one with a database server installed, the others without, and the jump host."""
        lab, keys = self.lab, {}
        roots = {"newdb1": self.plain, "newdb2": self.base, "newms1": self.plain, JUMP[0]: self.base}
        for name, address in {**SERVERS, JUMP[0]: JUMP[1]}.items():
            private, public = lab.key(name)
            provisioning = Provisioning(name, address, private, public, (lab.operator_key(),), prefix=PREFIX)
            container.create(container.ContainerSpec(name, roots[name], lab.new, lab.namespace, BRIDGE, provisioning))
            keys[name] = public
        with lab.known_hosts.open("a") as file:
            file.writelines(f"{address} {keys[name]}\n" for name, address in {**SERVERS, JUMP[0]: JUMP[1]}.items())
        self.before = {name: snapshot(self.root(name)) for name in SERVERS}

    def configure(self) -> None:
        """The stack's file: every new server exists, and is reached through the jump host by the user's ssh configuration."""
        lab = self.lab
        config = lab.folder / "ssh-config"
        config.write_text(
            f"Host *\n  IdentityFile {lab.identity}\n  UserKnownHostsFile {lab.known_hosts}\n  StrictHostKeyChecking yes\n"
            f"Host jump\n  HostName {JUMP[1]}\n  User root\n"
            + "".join(f"Host {name}.behind\n  HostName {address}\n  ProxyJump jump\n" for name, address in SERVERS.items())
        )
        document: dict[str, Any] = yaml.safe_load(lab.stack_file.read_text())
        values = document["config"]
        values[f"{SECTION}ssh"]["configFile"] = str(config)
        new = values[f"{SECTION}new"]
        new["platform"] = "existing"
        for server in (new["database"]["source"], new["database"]["replica"], *new["management"]):
            server["sshHost"] = f"{server['name']}.behind"
        values[f"{SECTION}platforms"] = {}
        lab.stack_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def to(self, phase: Phase) -> None:
        """`pulumi up` in a phase."""
        stack.set_phase(self.lab, phase)
        stack.up(self.lab)
        # The stack makes no host keys for servers that have their own; the lab's own sessions need them.
        keys = {name: self.lab.key(name)[1].strip() for name in SERVERS}
        write_atomically(self.lab.folder / "new_host_keys.json", json.dumps(keys))

    def root(self, name: str) -> Path:
        """A server's root file system."""
        return self.lab.new / name / "root"

    def logins(self, name: str) -> set[str]:
        """Where the logins came from, by its sshd's log."""
        lines = container_log(self.root(name))
        return {line.split(" from ")[1].split()[0] for line in lines if "Accepted publickey" in line}


def container_log(root: Path) -> list[str]:
    """The journal of a machine, read from its files."""
    shown = subprocess.run(
        ["journalctl", "-D", str(root / "var/log/journal"), "-t", "sshd", "-o", "cat", "--no-pager"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return shown.stdout.splitlines()


@pytest.fixture
def job() -> Iterator[Job]:
    """The lab, taken down at the end."""
    lab = Lab(f"exist{os.getpid() % 1000}")
    folder = Path(tempfile.mkdtemp(prefix="existing-"))
    try:
        base = base_root()
        with plain_root(base, folder) as plain:
            try:
                yield Job(lab, plain, base)
            finally:
                if kept := os.environ.get("KEEP_RUNS"):
                    shutil.copytree(lab.folder / "runs", kept, dirs_exist_ok=True)
                takedown.down(lab)
    finally:
        remove(folder)


def test_forward_and_back_on_servers_that_are_there(job: Job) -> None:
    in_a_thread(lambda: forward_and_back(job))


def forward_and_back(job: Job) -> None:
    """The whole job."""
    job.original()
    job.servers()
    job.configure()
    lab = job.lab
    job.to(Phase.BUILT)
    for name in SERVERS:
        assert job.logins(name) == {JUMP[1]}, "only the jump host's address may have logged in"
    job.to(Phase.PREPARED)
    before = lab.folder / "before.json"
    with sessions(lab) as opened:
        write_atomically(before, json.dumps(checksums.read(opened)))
    job.to(Phase.SWITCHED)
    with sessions(lab) as opened:
        found = status.read(lab, opened)
        verification.switched(found, opened)
    print(status.text(found))

    stack.destroy(lab)
    with sessions(lab) as opened:
        verification.settled(lab, opened, verification.original)
        compared = checksums.compare(before, checksums.read(opened), destroyed=True)
    assert compared.tables > 100
    assert not compared.different, compared.damaged
    left = {name: difference(job.before[name], snapshot(job.root(name))) for name in SERVERS}
    assert left == {name: [] for name in SERVERS}
    for name in SERVERS:
        logs = [str(path.relative_to(job.root(name))) for path in (job.root(name) / "var/log").rglob("*") if path.is_file()]
        print(name, "logs:", *sorted(logs))
