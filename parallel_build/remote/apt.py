"""Debian packages of a server: what is installed, what can be had, installing exactly that, and taking it away again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from parallel_build.cancel import clearing_up
from parallel_build.errors import CommandFailed, ConfigurationError, StepFailed
from parallel_build.remote import transactions
from parallel_build.remote.access import Access
from parallel_build.remote.available import Available
from parallel_build.versions import CloudStackVersion

UPDATE_TIMEOUT, INSTALL_TIMEOUT = 600.0, 1800.0
LOCK_WAIT = 300  # seconds apt waits for another apt, such as unattended upgrades
# What the stack writes itself.
SOURCES = "/etc/apt/sources.list.d/cloudstack-parallel-build.list"
KEYRING = "/etc/apt/keyrings/cloudstack-parallel-build.asc"
PIN = "/etc/apt/preferences.d/cloudstack-parallel-build"
REMOVING = ("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={LOCK_WAIT}", "-o", "APT::AutoRemove::RecommendsImportant=false",
            "-o", "APT::AutoRemove::SuggestsImportant=false")  # fmt: skip
QUIET = ("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1")
OPTIONS = ("-o", f"DPkg::Lock::Timeout={LOCK_WAIT}", "-o", "Acquire::Retries=2")


class Apt:
    """apt and dpkg of one server.

    Args:
        host: the server.
    """

    program = "apt-get"
    sources = SOURCES

    def __init__(self, host: Access) -> None:
        self.host = host

    def installed(self, package: str) -> str | None:
        """The installed version, None when it is not fully installed."""
        shown = self.host.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package], ok=(0, 1)).stdout.split()
        return shown[1] if len(shown) == 2 and shown[0] == "installed" else None

    def dependencies(self, package: str) -> str:
        """The `Depends` field of an installed package."""
        return self.host.run(["dpkg-query", "-W", "-f", "${Depends}", package]).stdout

    def available(self, package: str) -> list[Available]:
        """Every version that apt knows of, newest first, as `apt-cache madison` prints."""
        found = []
        for line in self.host.run(["apt-cache", "madison", package], timeout=120, ok=(0, 100)).stdout.splitlines():
            parts = [part.strip() for part in line.split("|")]
            if len(parts) == 3 and parts[0] == package:
                found.append(Available(parts[1], parts[2]))
        return found

    def update(self, source_file: str | None = None) -> None:
        """Refresh the package lists: all, or only those of one file (its path), leaving the others as they are."""
        words = ["apt-get", *OPTIONS, "update"]
        if source_file:
            words += [
                "-o", f"Dir::Etc::sourcelist={source_file}", "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0",
                "-o", "APT::Update::Error-Mode=any",
            ]  # fmt: skip
        self.host.run(words, timeout=UPDATE_TIMEOUT)

    def install(self, packages: Sequence[str]) -> None:
        """Install packages (`name` or `name=version`) without recommended ones; package lists are refreshed when that is needed.

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

    def exact(self, package: str, version: str) -> str:
        """`name=version`."""
        return f"{package}={version}"

    def source_files(self, repository: str, key: str | None, release: CloudStackVersion) -> dict[str, str]:
        """The line, and its key."""
        files = {SOURCES: repository_line(repository, key) + "\n"}
        return files | ({KEYRING: key.strip() + "\n"} if key else {})

    def hold_files(self, release: CloudStackVersion) -> dict[str, str]:
        """Preferences."""
        return {PIN: pin(str(release))}

    def going_with(self, packages: Sequence[str]) -> list[str]:
        """What a simulated purge names."""
        return self._simulated("purge", *packages)

    def unneeded(self) -> list[str]:
        """What a simulated autoremove names."""
        return self._simulated("autoremove")

    def installers(self) -> dict[str, bool]:
        """By apt's history."""
        return transactions.installers(self.host)

    def asked_for(self) -> set[str]:
        """What is marked as installed manually."""
        return {name.split(":")[0] for name in self.host.run(["apt-mark", "showmanual"], timeout=120).stdout.split()}

    def mark(self, package: str, *, asked_for: bool) -> None:
        """Manual or automatic."""
        self.host.run(["apt-mark", "manual" if asked_for else "auto", package], timeout=120, cancellable=False)

    def remove(self, packages: Sequence[str]) -> None:
        """Purge; other services are not restarted for it."""
        self.host.run([*QUIET, *REMOVING, "purge", *packages], timeout=INSTALL_TIMEOUT, cancellable=False)

    def _simulated(self, *words: str) -> list[str]:
        shown = self.host.run([*REMOVING, "-s", *words], timeout=300).stdout.splitlines()
        return [line.split()[1].split(":")[0] for line in shown if line.startswith(("Remv ", "Purg "))]


def repository_line(line: str, key: str | None) -> str:
    """The repository's line, naming the key file when a key is configured and the line names none."""
    if not line.strip().startswith("deb "):
        raise ConfigurationError(
            f"new.packages.repository: {line!r} is no apt source line",
            "a server of the Debian family takes packages by apt",
            "write it as `deb http://server/path suite component`",
        )
    if not key or "signed-by=" in line:
        return line.strip()
    match = re.match(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>.+)$", line.strip())
    if not match:
        raise ConfigurationError(
            f"new.packages.repository: {line!r} is no apt source line",
            "it is more than one line, and the option that names new.packages.key is put into one",
            "write it in one line, as `deb http://server/path suite component`, without a line break",
        )
    options = " ".join(part for part in ((match["options"] or "").strip(), f"signed-by={KEYRING}") if part)
    return f"deb [{options}] {match['rest']}"


def pin(version: str) -> str:
    """apt preferences that choose this release also for what the packages depend on, and keep later ones away."""
    return f"Package: cloudstack-*\nPin: version {version}*\nPin-Priority: 1000\n"
