"""Debian packages of a server: what is installed, what can be had, and installing exactly that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parallel_build.cancel import clearing_up
from parallel_build.errors import CommandFailed, StepFailed
from parallel_build.remote import transactions
from parallel_build.remote.host import Host
from parallel_build.versions import CloudStackVersion

UPDATE_TIMEOUT, INSTALL_TIMEOUT = 600.0, 1800.0
LOCK_WAIT = 300  # seconds apt waits for another apt, such as unattended upgrades
OPTIONS = ("-o", f"DPkg::Lock::Timeout={LOCK_WAIT}", "-o", "Acquire::Retries=2")


@dataclass(frozen=True)
class Available:
    """A version that can be had, and where from."""

    version: str
    source: str


class Apt:
    """apt and dpkg of one server.

    Args:
        host: the server.
    """

    def __init__(self, host: Host) -> None:
        self.host = host

    def installed(self, package: str) -> str | None:
        """The installed version, None when it is not fully installed."""
        shown = self.host.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package], ok=(0, 1)).stdout.split()
        return shown[1] if len(shown) == 2 and shown[0] == "installed" else None

    def dependencies(self, package: str) -> str:
        """The `Depends` field of an installed package."""
        return self.host.run(["dpkg-query", "-W", "-f", "${Depends}", package]).stdout

    def available(self, package: str) -> list[Available]:
        """Every version that apt knows of, newest first, as `apt-cache madison` tells."""
        found = []
        for line in self.host.run(["apt-cache", "madison", package], timeout=120, ok=(0, 100)).stdout.splitlines():
            parts = [part.strip() for part in line.split("|")]
            if len(parts) == 3 and parts[0] == package:
                found.append(Available(parts[1], parts[2]))
        return found

    def update(self, source_file: str | None = None) -> None:
        """Read the package lists anew: all, or only those of one file (its path), leaving the others as they are."""
        words = ["apt-get", *OPTIONS, "update"]
        if source_file:
            words += [
                "-o", f"Dir::Etc::sourcelist={source_file}", "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0",
                "-o", "APT::Update::Error-Mode=any",
            ]  # fmt: skip
        self.host.run(words, timeout=UPDATE_TIMEOUT)

    def install(self, packages: Sequence[str]) -> None:
        """Install packages (`name` or `name=version`) without recommended ones; package lists are read anew when that is needed.

        Raises:
            StepFailed: apt could not, with its words.
        """
        words = [
            "env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "apt-get", *OPTIONS, "-o", transactions.MARK, "-y", "-q",
            "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Options::=--force-confdef",
            "install", *packages,
        ]  # fmt: skip
        transactions.begin(self.host)
        try:
            self._install(packages, words)
        finally:
            with clearing_up():
                transactions.end(self.host)

    def _install(self, packages: Sequence[str], words: Sequence[str]) -> None:
        # An interrupted earlier run leaves packages unpacked but not configured, and apt refuses everything until that is done.
        self.host.run(
            ["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-confold", "--configure", "-a"],
            timeout=INSTALL_TIMEOUT,
        )
        simulated = self.host.run(["apt-get", *OPTIONS, "-s", "--no-install-recommends", "install", *packages],
                                  timeout=300, ok=None)  # fmt: skip
        if not simulated.ok:
            self.update()
        try:
            self.host.run(words, timeout=INSTALL_TIMEOUT)
        except CommandFailed as error:
            raise StepFailed(
                f"{self.host.name}: apt could not install {' '.join(packages)}",
                error.cause or error.fact,
                f"make these packages and what they depend on available to {self.host.name}, then run `pulumi up` again",
            ) from None


def of_release(version: str, release: CloudStackVersion) -> bool:
    """Whether a Debian version (`4.22.1.0`, `1:4.22.1.0~jammy`, `4.22.1.0-2`) is of this CloudStack release."""
    match = re.match(r"^(?:\d+:)?(\d+(?:\.\d+)+)(?![.\d])", version)
    if not match or not 2 <= match[1].count(".") + 1 <= 4:
        return False
    return CloudStackVersion(match[1]) == release


def choose(package: str, host: str, found: Sequence[Available], release: CloudStackVersion) -> Available:
    """The newest available package of a release.

    Raises:
        StepFailed: there is none; names what there is.
    """
    for candidate in found:
        if of_release(candidate.version, release):
            return candidate
    there = ", ".join(sorted({candidate.version for candidate in found})) or "none"
    raise StepFailed(
        f"{host}: there is no {package} {release}",
        f"available: {there}",
        "correct new.packages.repository or new.version",
    )


def without_command(host: Host, commands: Mapping[str, str]) -> list[str]:
    """The packages whose command is not there: where it is there, nobody asks how it came.

    Args:
        commands: package -> a command that it brings.
    """
    text = 'for command; do command -v "$command" >/dev/null || echo "$command"; done'
    absent = set(host.script(text, list(commands.values())).stdout.split())
    return [name for name, command in commands.items() if command in absent]
