"""Container machines: what a test and the lab rely on when they switch one off, cut it off or lose what keeps it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.images import base_root
from parallel_build.machines.container import cgroups, namespace
from parallel_build.machines.container import machine as container
from parallel_build.machines.container.machine import ContainerSpec
from parallel_build.machines.local_commands import MachineFailed, run
from parallel_build.machines.provisioning import DONE, File, Provisioning
from parallel_build.secret import Secret

pytestmark = pytest.mark.containers

BRIDGE = "br0"
FIRST, SECOND = "10.92.0.11", "10.92.0.12"


class Bench:
    """A network namespace with a bridge, and machines on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.machines = folder, folder / "machines"
        self.namespace = f"cslab-t{os.getpid()}"
        self.keys: dict[str, str] = {}
        run(["ip", "netns", "add", self.namespace])
        run(["ip", "-n", self.namespace, "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0"])
        run(["ip", "-n", self.namespace, "address", "add", "10.92.0.1/24", "dev", BRIDGE])
        run(["ip", "-n", self.namespace, "link", "set", BRIDGE, "up"])
        self.operator = self._key("operator")[1]

    def spec(self, name: str, address: str, **more: object) -> ContainerSpec:
        """A machine on the bench."""
        private, public = self._key(name)
        self.keys[address] = public
        provisioning = Provisioning(name, address, Secret(private), public, (self.operator,), **more)  # type: ignore[arg-type]
        return ContainerSpec(name, base_root(), self.machines, self.namespace, BRIDGE, provisioning)

    def ssh(self, address: str, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command over SSH with strict host keys, from inside the namespace."""
        known = self.folder / "known_hosts"
        known.write_text("".join(f"{host} {key}\n" for host, key in self.keys.items()))
        words = ["nsenter", f"--net=/run/netns/{self.namespace}", "ssh", "-F", "/dev/null", "-i", str(self.folder / "operator")]
        words += ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}"]
        words += ["-o", "ConnectTimeout=5", f"root@{address}", command]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)

    def close(self) -> None:
        """Remove everything."""
        for name in container.names(self.machines):
            container.delete(self.machines, name)
        run(["ip", "netns", "delete", self.namespace])

    def _key(self, name: str) -> tuple[str, str]:
        path = self.folder / name
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30)
        return path.read_text(), path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    found = Bench(tmp_path_factory.mktemp("bench"))
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def pair(bench: Bench) -> Bench:
    """Two machines that are on."""
    extra = File("/etc/lab/hello", "hello\n", 0o640, "root:adm")
    container.create(bench.spec("one", FIRST, files=(extra,), masked_units=("mariadb.service",)))
    container.create(bench.spec("two", SECOND))
    return bench


def eventually(condition: Callable[[], bool], what: str, timeout: float = 120) -> None:
    """Wait for a condition with a deadline."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}"
        time.sleep(0.1)


def reaches(bench: Bench, target: str) -> bool:
    """Whether the second machine can ping an address."""
    return bench.ssh(SECOND, f"ping -c 1 -W 1 {target}").returncode == 0


def test_a_machine_is_what_its_provisioning_says(pair: Bench) -> None:
    eventually(lambda: pair.ssh(FIRST, f"test -e {DONE}").returncode == 0, "the first start's script")
    printed = pair.ssh(
        FIRST, "hostname; hostname --fqdn; cat /etc/lab/hello; stat -c %a:%U:%G /etc/lab/hello; systemctl is-enabled mariadb"
    ).stdout
    assert printed.split() == ["one", "one.cloud.internal", "hello", "640:root:adm", "masked"]


def test_its_name_stands_for_its_address_and_its_card_has_its_mac(pair: Bench) -> None:
    mac = json.loads((pair.machines / "one/machine.json").read_text())["mac"]
    assert pair.ssh(FIRST, "getent hosts one").stdout.split()[0] == FIRST
    # CloudStack reads it here: a /sys of another network namespace would give every server the same id.
    assert pair.ssh(FIRST, "cat /sys/class/net/eth0/address; ls /sys/class/net").stdout.split() == [mac, "eth0", "lo"]


def test_services_of_two_machines_are_apart(pair: Bench) -> None:
    assert pair.ssh(FIRST, "systemctl is-system-running --wait").stdout.strip() in ("running", "degraded")
    groups = {name: cgroups.processes(f"{pair.namespace}-{name}") for name in ("one", "two")}
    assert groups["one"] and groups["two"] and not groups["one"] & groups["two"]


def test_creating_again_changes_nothing(pair: Bench) -> None:
    booted = pair.ssh(FIRST, "cat /proc/1/stat | cut -d' ' -f22").stdout
    container.create(pair.spec("one", FIRST))
    assert pair.ssh(FIRST, "cat /proc/1/stat | cut -d' ' -f22").stdout == booted


def test_another_machine_of_the_name_is_refused(pair: Bench) -> None:
    other = pair.spec("three", "10.92.0.13")
    with pytest.raises(MachineFailed, match="another machine named one"):
        container.create(ContainerSpec("one", other.root, other.folder, other.namespace, other.bridge, other.provisioning))


def test_a_reboot_comes_back_with_its_files(pair: Bench) -> None:
    before = pair.ssh(FIRST, "touch /root/kept; cat /proc/1/stat | cut -d' ' -f22").stdout
    pair.ssh(FIRST, "systemctl reboot")

    def back() -> bool:
        printed = pair.ssh(FIRST, "ls /root/kept && cat /proc/1/stat | cut -d' ' -f22")
        return printed.returncode == 0 and before not in printed.stdout

    eventually(back, "the reboot")
    assert container.running(pair.machines, "one")


def test_a_power_off_from_inside_stays_off_and_silent(pair: Bench) -> None:
    pair.ssh(FIRST, "systemctl poweroff")
    eventually(lambda: not container.running(pair.machines, "one"), "the power-off")
    assert not reaches(pair, FIRST)
    container.power_on(pair.machines, "one")
    assert reaches(pair, FIRST)


def test_power_off_is_clean_and_idempotent(pair: Bench) -> None:
    container.power_off(pair.machines, "one")
    assert "ended with exit code 0" in (pair.machines / "one/supervisor.log").read_text().splitlines()[-2]
    container.power_off(pair.machines, "one")
    assert not container.running(pair.machines, "one")
    container.power_on(pair.machines, "one")


def test_a_power_cut_leaves_nothing_running(pair: Bench) -> None:
    container.kill(pair.machines, "one")
    assert not container.running(pair.machines, "one")
    assert not cgroups.processes(f"{pair.namespace}-one")
    container.power_on(pair.machines, "one")
    assert pair.ssh(FIRST, "ls /root/kept").returncode == 0


def test_a_machine_goes_with_its_supervisor(pair: Bench) -> None:
    record = json.loads((pair.machines / "one/supervisor.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    eventually(lambda: not cgroups.processes(f"{pair.namespace}-one"), "the end of the machine")
    assert not container.running(pair.machines, "one")
    container.power_on(pair.machines, "one")
    assert container.running(pair.machines, "one")


def test_a_stale_record_names_nobody(pair: Bench) -> None:
    container.power_off(pair.machines, "one")
    record = pair.machines / "one/supervisor.json"
    record.write_text(json.dumps({"pid": os.getpid(), "start": 1}))
    container.kill(pair.machines, "one")  # must not signal this process
    assert not container.running(pair.machines, "one")
    container.power_on(pair.machines, "one")


def test_a_cut_network_stays_cut_over_a_power_cycle(pair: Bench) -> None:
    container.cut_network(pair.machines, "one")
    assert not namespace.ssh_answers(pair.namespace, FIRST, timeout=1)
    container.power_off(pair.machines, "one")
    container.power_on(pair.machines, "one")
    assert container.running(pair.machines, "one")
    assert not namespace.ssh_answers(pair.namespace, FIRST, timeout=1)
    container.restore_network(pair.machines, "one")
    eventually(lambda: namespace.ssh_answers(pair.namespace, FIRST), "the network")


def test_an_interrupted_create_is_taken_up(bench: Bench) -> None:
    spec = bench.spec("half", "10.92.0.15")
    container.create(spec)
    container.kill(bench.machines, "half")
    # What a create leaves that was ended while it wrote the machine's files.
    record = bench.machines / "half/machine.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "made": False}))
    (bench.machines / "half/root/etc/hostname").unlink()
    assert not container.exists(bench.machines, "half")
    container.create(spec)
    assert bench.ssh("10.92.0.15", "cat /etc/hostname").stdout.strip() == "half"


def test_delete_leaves_nothing_behind_and_may_be_repeated(bench: Bench) -> None:
    container.create(bench.spec("gone", "10.92.0.14"))
    for _ in range(2):
        container.delete(bench.machines, "gone")
    machine = f"{bench.namespace}-gone"
    assert not (bench.machines / "gone").exists()
    assert not (namespace.FOLDER / machine).exists()
    assert not any((mount / machine).exists() for mount in cgroups.tracking())
    assert str(bench.machines / "gone") not in Path("/proc/self/mountinfo").read_text()


def test_the_shared_root_is_never_written_to(pair: Bench) -> None:
    assert not (base_root() / "etc/lab").exists()
    assert not (base_root() / DONE.lstrip("/")).exists()
