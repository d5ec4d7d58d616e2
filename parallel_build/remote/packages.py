"""Packages of a server, by whatever program handles them there: apt for the Debian family, dnf for EL's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.apt import Apt
from parallel_build.remote.available import Available
from parallel_build.remote.dnf import Dnf
from parallel_build.remote.families import DEBIAN, family_of
from parallel_build.secret import has_credentials
from parallel_build.versions import CloudStackVersion

THERE = 'for command; do command -v "$command" >/dev/null || exit 1; done'


class Packages(Protocol):
    """What is asked of a server's packages, and done to them. What is installed is known by name; nothing is guessed from a file or a command."""

    @property
    def program(self) -> str:
        """The program, as plans and journals name it."""

    @property
    def sources(self) -> str:
        """The file that names the stack's own repository."""

    def installed(self, package: str) -> str | None:
        """The installed version, None when it is not fully installed."""

    def dependencies(self, package: str) -> str:
        """What an installed package says that it needs."""

    def available(self, package: str) -> list[Available]:
        """Every version that can be had, newest first."""

    def update(self, source_file: str | None = None) -> None:
        """Refresh the package lists: all, or only those of one file (its path), leaving the others as they are."""

    def install(self, packages: Sequence[str]) -> None:
        """Install packages (`name`, or as `exact` names a version) and nothing that is merely recommended.

        Raises:
            StepFailed: it could not, with the program's words.
        """

    def exact(self, package: str, version: str) -> str:
        """How `install` takes one version."""

    def source_files(self, repository: str, key: str | None, release: CloudStackVersion) -> dict[str, str]:
        """Files that name a repository of the stack's own, by path."""

    def hold_files(self, release: CloudStackVersion) -> dict[str, str]:
        """Files that keep CloudStack's packages at a release, by path."""

    def going_with(self, packages: Sequence[str]) -> list[str]:
        """Every package that would go if these went."""

    def unneeded(self) -> list[str]:
        """Packages that came for others and are needed by none any more."""

    def installers(self) -> dict[str, bool]:
        """Package -> whether a transaction of this stack's installed it last; of what the program's history does not name nothing is known."""

    def asked_for(self) -> set[str]:
        """Packages that somebody asked for by name; the others came with them."""

    def mark(self, package: str, *, asked_for: bool) -> None:
        """Mark a package as asked for, or as come with others."""

    def remove(self, packages: Sequence[str]) -> None:
        """Take packages away, their configuration too.

        Raises:
            CommandFailed: it could not.
        """


def packages_of(host: Access) -> Packages:
    """The packages of a server.

    Raises:
        StepFailed: the server is of no known family, or has not its family's programs.
    """
    family = family_of(host)
    programs = ("apt-get", "dpkg-query") if family is DEBIAN else ("dnf", "rpm")
    if not host.run(["sh", "-c", THERE, "sh", *programs], ok=(0, 1)).ok:
        raise StepFailed(
            f"{host.name}: packages are handled by no program that is known here",
            f"it is of {family.name}, and {' or '.join(programs)} is not there",
            f"take a server of {family.name} that has {programs[0]}",
        )
    return Apt(host) if family is DEBIAN else Dnf(host)


def file_mode(content: str) -> int:
    """Of a file that names a repository: everybody's to read, but where its address has a password or token in it."""
    return 0o600 if has_credentials(content) else 0o644


def faults(packages: Packages, wanted: Sequence[str], release: CloudStackVersion) -> dict[str, str]:
    """Packages that are not as they are wanted -> what they are; CloudStack's are wanted of one release.

    Args:
        wanted: names; those of CloudStack begin with its.
    """
    found = {name: packages.installed(name) for name in wanted}
    return {name: version or "not installed" for name, version in found.items() if not right(name, version, release)}


def right(name: str, version: str | None, release: CloudStackVersion) -> bool:
    """Whether a package is installed, and of the release where it is CloudStack's."""
    return version is not None and (not name.startswith("cloudstack") or of_release(version, release))


def of_release(version: str, release: CloudStackVersion) -> bool:
    """Whether a package's version (`4.22.1.0`, `1:4.22.1.0~jammy`, `4.22.1.0-2`) is of this CloudStack release, and of its build where it has one."""
    match = re.match(r"^(?:\d+:)?(\d+(?:\.\d+)+)(?![.\d])", version)
    if not match or not 2 <= match[1].count(".") + 1 <= 4:
        return False
    return CloudStackVersion(match[1]) == release and release.build in version[match.end() :]


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


def without_command(host: Access, commands: Mapping[str, str]) -> list[str]:
    """The packages whose command is not there: where it is there, nobody asks how it came.

    Args:
        commands: package -> a command that it brings.
    """
    text = 'for command; do command -v "$command" >/dev/null || echo "$command"; done'
    absent = set(host.script(text, list(commands.values())).stdout.split())
    return [name for name, command in commands.items() if command in absent]
