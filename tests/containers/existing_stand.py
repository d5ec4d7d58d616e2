"""Servers that are there already, for tests: one with a database server, others without, behind a jump host; and a look at every file of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.images.archive import build_environment
from lab.packages import build
from parallel_build.cancel import CancelToken, wait_for
from parallel_build.configuration import load, load_secrets
from parallel_build.resolved_stack import Site
from tests.containers.steps_bench import ADDRESSES, SECRETS, Bench, configuration
from tools.cache import cache_directory

# What a running system writes by itself, an undo or not; everything else counts.
RUNNING = (
    "dev/", "proc/", "run/", "sys/", "tmp/", "var/tmp/", "var/log/", "var/lib/systemd/", "var/lib/dbus/", "var/lib/private/",
    "etc/resolv.conf", "root/.ssh/known_hosts",
)  # fmt: skip
DEBS = "srv/packages"


def snapshot(root: Path) -> dict[str, str]:
    """Every path below `root`: kind, mode, owner, and content or target."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            relative = str(path.relative_to(root))
            if (relative + "/").startswith(RUNNING):
                continue
            status = path.lstat()
            what = f"{stat.S_IFMT(status.st_mode):o} {status.st_mode & 0o7777:o} {status.st_uid}:{status.st_gid}"
            if stat.S_ISLNK(status.st_mode):
                what += f" -> {path.readlink()}"
            elif stat.S_ISREG(status.st_mode):
                with path.open("rb") as file:
                    what += f" {hashlib.file_digest(file, 'sha256').hexdigest()}"
            found[relative] = what
    return found


def difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What differs, one line a path."""
    lines = [f"+ {path}" for path in sorted(set(after) - set(before))]
    lines += [f"- {path}" for path in sorted(set(before) - set(after))]
    lines += [f"~ {path}: {before[path]} => {after[path]}" for path in sorted(set(before) & set(after)) if before[path] != after[path]]
    return lines


@contextlib.contextmanager
def plain_root(base: Path, folder: Path) -> Iterator[Path]:
    """The base root without any database package, and with a local package source that has them and CloudStack's.

    Args:
        folder: where its layer and mount point are made; removed again by the caller.
    """
    upper, work, merged = folder / "upper", folder / "work", folder / "plain"
    for path in (upper, work, merged):
        path.mkdir(parents=True)
    options = f"lowerdir={base},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], check=True, timeout=30)
    try:
        _strip(merged, folder)
        yield merged
    finally:
        subprocess.run(["umount", str(merged)], check=True, timeout=30)


def _strip(root: Path, folder: Path) -> None:
    before = _packages(root)
    database = [name for name in before if name.split(":")[0].startswith(("mariadb", "galera", "mydumper", "libmariadb"))]
    _inside(root, "apt-get", "-y", "-q", "purge", "--auto-remove", *database)
    shutil.rmtree(root / "var/lib/mysql", ignore_errors=True)
    shutil.rmtree(root / "etc/mysql", ignore_errors=True)
    removed = {name: version for name, version in before.items() if name not in _packages(root)}
    debs = root / DEBS
    debs.mkdir(parents=True)
    wanted = [f"{name}={version}" for name, version in removed.items()]
    subprocess.run(
        ["apt-get", "download", "-q", *wanted], cwd=debs, check=True, timeout=600, stdout=subprocess.DEVNULL, env=build_environment()
    )
    for deb in build(cache_directory()).repository("4.22.1.0").glob("*.deb"):
        shutil.copy(deb, debs)
    index = subprocess.run(["dpkg-scanpackages", "--multiversion", "."], cwd=debs, check=True, timeout=120, capture_output=True).stdout
    (debs / "Packages").write_bytes(index)
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:/{DEBS} ./\n")
    _inside(root, "apt-get", "-q", "update")


def _packages(root: Path) -> dict[str, str]:
    shown = _inside(root, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}:${Architecture} ${Version}\\n").splitlines()
    return {name: version for state, name, version in (line.split() for line in shown) if state == "installed"}


def _inside(root: Path, *command: str) -> str:
    """Run a command in the root, without starting any service."""
    return subprocess.run(
        ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--pipe", "--private-network", "-D", str(root), *command],
        check=True,
        timeout=600,
        capture_output=True,
        text=True,
        env=build_environment(),
    ).stdout


class Stand:
    """Servers behind a jump host: the only way in, with the operator's key in an agent and nowhere else.

    Args:
        bench: where they run.
        plain: root without database packages.
        base: root with them.
    """

    SERVERS = ("newdb1", "newdb2", "newms1")
    REHEARSAL = "rehearsal"  # without any database package

    def __init__(self, bench: Bench, plain: Path, base: Path) -> None:
        self.bench = bench
        ADDRESSES.setdefault("jump", "10.91.0.60")
        ADDRESSES.setdefault(self.REHEARSAL, "10.91.0.51")
        for name, root in {"jump": base, "newdb1": plain, "newdb2": base, "newms1": plain, self.REHEARSAL: plain}.items():
            bench.root = root
            bench.machine(name)
        for name in self.SERVERS:  # `bench.run` knows the stack's servers only
            self._close(name)
        folder = bench.folder
        self.known_hosts = folder / "known-hosts"
        self.known_hosts.write_text("".join(f"{ADDRESSES[name]} {key}\n" for name, key in bench.host_keys.items()))
        self.agent = folder / "agent"
        self._agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(self.agent)], stdout=subprocess.DEVNULL)
        key = str(folder / "operator")
        wait_for("the agent", lambda: self.agent.exists(), timeout=10, cancel=CancelToken(), interval=0.05)
        subprocess.run(["ssh-add", "-q", key], check=True, timeout=10, env={**os.environ, "SSH_AUTH_SOCK": str(self.agent)})
        self.ssh_config = folder / "ssh-config"
        self.ssh_config.write_text(
            f"Host *\n  IdentityAgent {self.agent}\n  IdentityFile none\n  UserKnownHostsFile {self.known_hosts}\n"
            f"  StrictHostKeyChecking yes\nHost jump\n  HostName {ADDRESSES['jump']}\n  User root\n"
            + "".join(f"Host {name}.behind\n  HostName {ADDRESSES[name]}\n  ProxyJump jump\n" for name in (*self.SERVERS, self.REHEARSAL))
        )

    def close(self) -> None:
        """End the agent."""
        self._agent.terminate()
        self._agent.wait(10)

    def values(self, **machine: object) -> dict[str, Any]:
        """The stack's plain values; `machine` are further keys of every new machine."""
        values = configuration()
        new = values["new"]
        for server in (new["database"]["source"], new["database"]["replica"], *new["management"]):
            server.update({"sshHost": f"{server['name']}.behind", **machine})
        values["ssh"] = {"configFile": str(self.ssh_config), "knownHosts": str(self.known_hosts)}
        return values

    def site(self, values: dict[str, Any] | None = None) -> Site:
        """The stack as an operator without any key file sees it."""
        return Site("bench", load(values or self.values(), "bench"), load_secrets(SECRETS, "bench"), {})

    def rehearsing(self) -> dict[str, Any]:
        """The stack's plain values, with a rehearsal's server that is there already."""
        machine = {"name": self.REHEARSAL, "address": ADDRESSES[self.REHEARSAL], "memory": 2048, "platform": "existing"}
        return {**self.values(), "rehearsal": {"enabled": True, "machine": {**machine, "sshHost": f"{self.REHEARSAL}.behind"}}}

    def root(self, name: str) -> Path:
        """The running machine's root file system."""
        return self.bench.folder / "machines" / name / "root"

    def run(self, name: str, *argv: str, input: str = "") -> str:
        """Run a command on a server, by the way of the jump host."""
        site = self.site(self.rehearsing() if name == self.REHEARSAL else None)
        with self.bench.context(site, "look") as context:
            server = next(server for server in site.configuration.built_machines() if server.name == name)
            return self.bench.inside(lambda: context.host(server).run(argv, timeout=300, input=input).stdout)

    def packages(self, name: str) -> list[str]:
        """Its packages and their versions."""
        return sorted(self.run(name, "dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\\n").splitlines())

    def _close(self, name: str) -> None:
        """From now on only the jump host reaches its sshd; a rule of the kernel's, no file."""
        rules = (
            "table inet door {\n chain input {\n  type filter hook input priority 0;\n"
            f"  ip saddr != {ADDRESSES['jump']} tcp dport 22 tcp flags & (syn | ack) == syn drop\n }}\n}}\n"
        )
        self.bench.run(name, "nft", "-f", "-", input=rules)
