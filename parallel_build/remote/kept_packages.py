"""Package files that are fetched onto a server ahead of time, installed later without a network, and the present ones kept for the reverse.

Nothing of the server's own package lists, sources or caches is changed: everything is in one folder, which goes again with its files.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from parallel_build.cancel import clearing_up
from parallel_build.errors import CommandFailed, StepFailed
from parallel_build.remote import apt, dnf
from parallel_build.remote.access import Access
from parallel_build.remote.available import Available
from parallel_build.remote.families import DEBIAN, family_of
from parallel_build.remote.packages import Packages, choose, file_mode
from parallel_build.versions import CloudStackVersion

FETCH_TIMEOUT = 1800.0
LOCKED = 300  # seconds that a package program waits for another
COMPLETE = "complete"  # a file of this name says what is in the folder, once all of it is

# $1 folder. Copies of the server's own sources, so that what the new packages need is found as well.
APT_SOURCES = r"""
install -d -m 755 "$1" "$1/lists" "$1/lists/partial" "$1/new" "$1/new/partial" "$1/old" "$1/parts"
rm -f "$1/complete"
cp -p /etc/apt/sources.list.d/* "$1/parts/" 2>/dev/null || true
if [ -f /etc/apt/sources.list ]; then cp -p /etc/apt/sources.list "$1/sources.list"; else : >"$1/sources.list"; fi
"""
# $1 folder; then what is installed: a name and its version a pair. From the cache of the server's own apt, else from where it came.
APT_KEEP = r"""
folder=$1; shift
rm -rf "$folder/old.new"; install -d -m 755 "$folder/old.new"; cd "$folder/old.new"
while [ $# -gt 0 ]; do
  file="$1_$(printf %s "$2" | sed 's/:/%3a/g')_"
  cp -p "$folder/old/$file"*.deb . 2>/dev/null || cp -p /var/cache/apt/archives/"$file"*.deb . 2>/dev/null ||
    apt-get -q OPTIONS download "$1=$2" >&2
  shift 2
done
cd /; rm -rf "$folder/old"; mv "$folder/old.new" "$folder/old"
"""
# What an earlier fetch left may be of another build, or of another repository; the cache next to it has what is wanted again.
DNF_SOURCES = r"""
rm -rf "$1/new" "$1/parts"
install -d -m 755 "$1" "$1/new" "$1/old" "$1/parts"
rm -f "$1/complete"
cp -p /etc/yum.repos.d/*.repo "$1/parts/" 2>/dev/null || true
"""
DNF_KEEP = r"""
folder=$1; shift
rm -rf "$folder/old.new"; install -d -m 755 "$folder/old.new"
while [ $# -gt 0 ]; do
  cp -p "$folder/old/$1-$2".*.rpm "$folder/old.new" 2>/dev/null ||
    dnf OPTIONS reinstall --downloadonly --downloaddir="$folder/old.new" "$1-$2" >&2
  shift 2
done
rm -rf "$folder/old"; mv "$folder/old.new" "$folder/old"
"""


class KeptPackages(Protocol):
    """The folder of one server."""

    def fetch(self, wanted: Sequence[str], release: CloudStackVersion, repository: str | None, key: str | None) -> dict[str, str]:
        """Fetch packages of a release and what they need, and keep the files of those that are installed now.

        Returns:
            the version of each that was fetched.
        Raises:
            StepFailed: they can't be had, would take other packages away, or the present ones can't be kept.
        """

    def fetched(self) -> dict[str, str]:
        """Versions that lie ready, by package; empty where they are not all there."""

    def install(self, timeout: float) -> None:
        """Install what was fetched, without a network. Raises CommandFailed."""

    def put_back(self, timeout: float) -> None:
        """Install the kept files again. Raises CommandFailed."""

    def remove(self) -> None:
        """Remove the folder."""


def kept_packages(host: Access, folder: str) -> KeptPackages:
    """By whatever program handles packages there."""
    return KeptDebs(host, folder) if family_of(host) is DEBIAN else KeptRpms(host, folder)


class _Folder:
    """What both families share."""

    def __init__(self, host: Access, folder: str) -> None:
        self.host, self.folder = host, folder

    def fetched(self) -> dict[str, str]:
        """See the protocol."""
        text = (self.host.read(f"{self.folder}/{COMPLETE}") or b"").decode(errors="replace")
        return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)

    def remove(self) -> None:
        """See the protocol."""
        self.host.run(["rm", "-rf", self.folder], cancellable=False)

    def _present(self, program: Packages, wanted: Sequence[str]) -> dict[str, str]:
        """Versions that are installed now; the wave brings nothing that is not there."""
        found = {name: program.installed(name) for name in wanted}
        if missing := [name for name, version in found.items() if version is None]:
            raise StepFailed(
                f"{self.host.name}: {', '.join(missing)} is not installed",
                "the agents' wave brings installed packages to a new version",
                "correct original.hypervisors or agents.upgrade.packages",
            )
        return {name: str(version) for name, version in found.items()}

    def _complete(self, versions: Mapping[str, str]) -> dict[str, str]:
        self.host.write(f"{self.folder}/{COMPLETE}", "".join(f"{name} {version}\n" for name, version in versions.items()), mode=0o644)
        return dict(versions)

    def _write_sources(self, files: Mapping[str, str], names: Mapping[str, str]) -> None:
        """Write the stack's own repository into the folder: its files name each other by their usual paths.

        Args:
            files: by their usual path.
            names: usual path -> name in the folder.
        """
        for path, text in files.items():
            for usual, name in names.items():
                text = text.replace(usual, f"{self.folder}/{name}")
            self.host.write(f"{self.folder}/{names[path]}", text, mode=file_mode(text))

    def _failed(self, what: str, error: CommandFailed) -> StepFailed:
        return StepFailed(
            f"{self.host.name}: {what}", error.cause or error.fact, f"make them available to {self.host.name}, then run `pulumi up` again"
        )


class KeptDebs(_Folder):
    """Files of apt and dpkg."""

    @property
    def _options(self) -> list[str]:
        at = self.folder
        return [
            "-o", f"Dir::Etc::sourcelist={at}/sources.list", "-o", f"Dir::Etc::sourceparts={at}/parts", "-o", f"Dir::State::lists={at}/lists",
            "-o", f"Dir::Cache::archives={at}/new", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "Acquire::Retries=2",
            "-o", f"DPkg::Lock::Timeout={LOCKED}", "-o", "APT::Keep-Downloaded-Packages=true",
        ]  # fmt: skip

    def fetch(self, wanted: Sequence[str], release: CloudStackVersion, repository: str | None, key: str | None) -> dict[str, str]:
        """See the protocol."""
        present = self._present(apt.Apt(self.host), wanted)
        self.host.script(APT_SOURCES, [self.folder])
        if repository:
            names = {apt.SOURCES: "parts/cloudstack-parallel-build.list", apt.KEYRING: "key.asc"}
            self._write_sources(apt.Apt(self.host).source_files(repository, key, release), names)
        try:
            self.host.run(["apt-get", "-q", *self._options, "update"], timeout=apt.UPDATE_TIMEOUT)
            versions = {name: choose(name, self.host.name, self._available(name), release).version for name in wanted}
            exact = [f"{name}={version}" for name, version in versions.items()]
            self._takes_nothing_away(exact)
            self.host.run(
                ["apt-get", "-q", "-y", *self._options, "--no-install-recommends", "--download-only", "install", *exact],
                timeout=FETCH_TIMEOUT,
            )
        except CommandFailed as error:
            raise self._failed(f"{', '.join(wanted)} {release.full} can't be fetched", error) from None
        try:
            keep = APT_KEEP.replace("OPTIONS", " ".join(f"'{word}'" for word in self._options))
            self.host.script(keep, [self.folder, *(word for pair in present.items() for word in pair)], timeout=FETCH_TIMEOUT)
        except CommandFailed as error:
            raise self._unkept(error) from None
        return self._complete(versions)

    def install(self, timeout: float) -> None:
        """See the protocol."""
        exact = [f"{name}={version}" for name, version in self.fetched().items()]
        self._apply(["--no-download", "install", *exact], timeout)

    def put_back(self, timeout: float) -> None:
        """See the protocol."""
        files = self.host.run(["sh", "-c", 'ls "$1"/old/*.deb', "sh", self.folder]).stdout.split()
        # A file counts as something to fetch, and apt copies it: with --no-download it would refuse. What the packages need is there: they were installed.
        self._apply(["--allow-downgrades", "install", *files], timeout)

    def _apply(self, words: Sequence[str], timeout: float) -> None:
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"]
        kept = ["-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Options::=--force-confdef"]
        # What was cut off leaves packages unpacked but not configured, and apt refuses everything until that is done.
        self.host.run([*quiet, "dpkg", "--force-confold", "--configure", "-a"], timeout=timeout, cancellable=False)
        self.host.run(
            [*quiet, "apt-get", "-q", "-y", *self._options, *kept, "--no-install-recommends", *words], timeout=timeout, cancellable=False
        )

    def _available(self, name: str) -> list[Available]:
        shown = self.host.run(["apt-cache", *self._options, "madison", name], timeout=120, ok=(0, 100)).stdout
        parts = [[part.strip() for part in line.split("|")] for line in shown.splitlines()]
        return [Available(each[1], each[2]) for each in parts if len(each) == 3 and each[0] == name]

    def _takes_nothing_away(self, exact: Sequence[str]) -> None:
        shown = self.host.run(["apt-get", "-s", *self._options, "--no-install-recommends", "install", *exact], timeout=300).stdout
        gone = [line.split()[1] for line in shown.splitlines() if line.startswith("Remv ")]
        if gone:
            raise StepFailed(
                f"{self.host.name}: installing {', '.join(exact)} would take {', '.join(gone)} away",
                "they conflict with the new packages",
                f"resolve that on {self.host.name} first, then run `pulumi up` again",
            )

    def _unkept(self, error: CommandFailed) -> StepFailed:
        return StepFailed(
            f"{self.host.name}: the packages that are installed now can't be kept for a rollback",
            error.cause or error.fact,
            f"put their files into {self.folder}/old, or make their repository available again; then run `pulumi up` again",
        )


class KeptRpms(_Folder):
    """Files of dnf and rpm."""

    @property
    def _options(self) -> list[str]:
        return [
            "-q", "-y", f"--setopt=reposdir={self.folder}/parts", f"--setopt=cachedir={self.folder}/cache", "--setopt=install_weak_deps=False",
            "--setopt=obsoletes=False", "--setopt=keepcache=True",
        ]  # fmt: skip

    def fetch(self, wanted: Sequence[str], release: CloudStackVersion, repository: str | None, key: str | None) -> dict[str, str]:
        """See the protocol."""
        program = dnf.Dnf(self.host)
        present, known = self._present(program, wanted), program.keys()
        self.host.script(DNF_SOURCES, [self.folder])
        if repository:
            names = {dnf.SOURCES: "parts/cloudstack-parallel-build.repo", dnf.KEYRING: "key.asc"}
            self._write_sources(program.source_files(repository, key, release), names)
        try:
            versions = {name: choose(name, self.host.name, self._available(name), release).version for name in wanted}
            exact = [f"{name}-{version}" for name, version in versions.items()]
            target = ["--downloadonly", f"--downloaddir={self.folder}/new"]
            self.host.run(["dnf", *self._options, "install", *target, *exact], timeout=FETCH_TIMEOUT)
            keep = DNF_KEEP.replace("OPTIONS", " ".join(f"'{word}'" for word in self._options))
            self.host.script(keep, [self.folder, *(word for pair in present.items() for word in pair)], timeout=FETCH_TIMEOUT)
        except CommandFailed as error:
            raise self._failed(f"{', '.join(wanted)} {release.full} can't be fetched, or the present ones kept", error) from None
        finally:
            with clearing_up():
                if came := program.keys() - known:
                    self._note_keys(came)
        return self._complete(versions)

    def remove(self) -> None:
        """See the protocol; keys that rpm took over with a download of ours go as well."""
        program = dnf.Dnf(self.host)
        if ours := sorted(self._noted_keys() & program.keys()):
            program.remove(ours)
        super().remove()

    def _noted_keys(self) -> set[str]:
        return set((self.host.read(f"{self.folder}/keys") or b"").decode().split())

    def _note_keys(self, came: Set[str]) -> None:
        self.host.write(f"{self.folder}/keys", "".join(f"{key}\n" for key in sorted(self._noted_keys() | came)), mode=0o644)

    def install(self, timeout: float) -> None:
        """See the protocol; of what was installed already when it was fetched there is no file."""
        wanted, program = self.fetched(), dnf.Dnf(self.host)
        if not wanted or any(program.installed(name) != version for name, version in wanted.items()):
            self._apply("new", "install", timeout)

    def put_back(self, timeout: float) -> None:
        """See the protocol."""
        self._apply("old", "downgrade", timeout)

    def _apply(self, folder: str, verb: str, timeout: float) -> None:
        files = self.host.run(["sh", "-c", 'ls "$1"/*.rpm', "sh", f"{self.folder}/{folder}"]).stdout.split()
        words = ["dnf", "-q", "-y", "--disablerepo=*", "--setopt=install_weak_deps=False", verb, *files]
        self.host.run(words, timeout=timeout, cancellable=False)

    def _available(self, name: str) -> list[Available]:
        words = ["dnf", *self._options, "--showduplicates", "repoquery", "--available", "--qf", dnf.QUERY, name]
        lines = [line.split("\t") for line in self.host.run(words, timeout=dnf.UPDATE_TIMEOUT).stdout.splitlines()]
        found = [Available(each[1].removeprefix("0:"), each[2]) for each in lines if len(each) == 3 and each[0] == name]
        return sorted(found, key=lambda each: functools.cmp_to_key(dnf.compare)(each.version), reverse=True)
