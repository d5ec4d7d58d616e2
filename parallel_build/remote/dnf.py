"""RPM packages of a server: what is installed, what can be had, installing exactly that, and taking it away again, by dnf and rpm.

What would happen is asked of dnf's own library on the server, in the Python that runs dnf there: its tables are for people, and change.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from parallel_build.cancel import clearing_up
from parallel_build.errors import CommandFailed, ConfigurationError, StepFailed
from parallel_build.remote import transactions
from parallel_build.remote.access import Access
from parallel_build.remote.available import Available
from parallel_build.versions import CloudStackVersion

UPDATE_TIMEOUT, INSTALL_TIMEOUT = 600.0, 1800.0
REPOSITORY = "cloudstack-parallel-build"
# What the stack writes itself.
SOURCES = f"/etc/yum.repos.d/{REPOSITORY}.repo"
KEYRING = f"/etc/pki/rpm-gpg/RPM-GPG-KEY-{REPOSITORY}"
KEY = "gpg-pubkey-"
NOTE_KEYS = 'folder=$1; shift; for key; do if [ -d "$folder" ]; then echo "$key" >>"$folder/keys"; fi; done'
MARK = "cloudstack-parallel-build"  # the comment that a transaction of ours bears in dnf's history
# A name is all that is asked: weak dependencies are merely recommended, and what came for others is not taken along without being named.
OPTIONS = ("-q", "-y", "--setopt=install_weak_deps=False", "--setopt=clean_requirements_on_remove=False", "--setopt=skip_if_unavailable=False",
           "--setopt=obsoletes=False", f"--comment={MARK}")  # fmt: skip
QUERY = "%{name}\t%{epoch}:%{version}-%{release}\t%{repoid}"
INTERPRETER = r"""head -n 1 "$(command -v dnf)" | sed -n 's/^#! *//p'"""
ASK = r"""
import sys
import dnf
what, names = sys.argv[1], sys.argv[2:]
with dnf.Base() as base:
    base.conf.read()
    base.conf.clean_requirements_on_remove = False
    base.fill_sack(load_system_repo=True, load_available_repos=False)
    if what == "going":
        for name in names:
            try:
                base.remove(name)
            except dnf.exceptions.MarkingError:
                pass
        base.resolve(allow_erasing=True)
        found = {package.name for package in base.transaction.remove_set}
    elif what == "unneeded":
        base.autoremove()
        base.resolve(allow_erasing=True)
        found = {package.name for package in base.transaction.remove_set}
    elif what == "asked":
        found = {package.name for package in base.iter_userinstalled()}
    else:
        found = set()
        for each in sorted(base.history.old(), key=lambda each: each.tid):
            for item in each.packages():
                if item.action_name == "Install":
                    print(item.name + "\t" + (each.comment or "-"))
    for name in sorted(found):
        print(name)
"""
# Validity and last second of each key in a file, as GnuPG shows them; nothing where there is no GnuPG.
KEY_STATES = r"""
[ -e "$1" ] && command -v gpg >/dev/null || exit 0
home=$(mktemp -d)
gpg --batch --no-options --homedir "$home" --with-colons --show-keys "$1" 2>/dev/null | awk -F: '$1 == "pub" { print $2, $7 }' || true
rm -rf "$home"
"""
# Another dnf, for whose end ours has waited, removes every downloaded package when it ends, ours as well: nothing was begun.
CLEANED = r"No such file or directory: '/var/cache/dnf/"
# What dnf's words are about -> what to do.
REMEDIES = (
    (r"(?i)no space left|disk requirements|more space needed|not enough free space|curl error \(23\)", "free space on {host}"),
    (
        r"transaction lock|another process|being used by",
        "another rpm or dnf holds the package database there: let it end (`ps -C rpm,dnf`), or end it",
    ),
    (
        r"GPG|[Pp]ublic key|not signed|key .*expired",
        "correct new.packages.key: the packages must be signed with it, and it must be valid today",
    ),
    (r"repomd\.xml|mirror|Curl error|Status code", "let {host} reach that repository, or correct new.packages.repository"),
    (r"[Nn]o match|Unable to find", "correct new.packages.names, new.database.packages or the repository"),
)


class Dnf:
    """dnf and rpm of one server.

    Args:
        host: the server.
    """

    program = "dnf"
    sources = SOURCES

    def __init__(self, host: Access) -> None:
        self.host = host

    def installed(self, package: str) -> str | None:
        """The installed version and release, None when it is not installed.

        Raises:
            StepFailed: rpm can't say: that is no "not installed".
        """
        shown = self.host.run(["rpm", "-q", "--qf", "%{EPOCHNUM}:%{VERSION}-%{RELEASE}\n", package], ok=(0, 1))
        if shown.ok and shown.stdout.split():
            return shown.stdout.split()[-1].removeprefix("0:")
        if "is not installed" in shown.stdout:
            return None
        raise StepFailed(
            f"{self.host.name}: rpm does not say whether {package} is installed",
            (shown.stderr or shown.stdout).strip()[:300] or "it gave no answer",
            f"see `rpm -q {package}` on {self.host.name} (`rpm --rebuilddb` repairs a damaged package database), then run the same command again",
        )

    def dependencies(self, package: str) -> str:
        """What an installed package requires, a line each."""
        return self.host.run(["rpm", "-q", "--requires", package]).stdout

    def available(self, package: str) -> list[Available]:
        """Every version that dnf knows of, newest first.

        Raises:
            StepFailed: a repository can't be read: that is no "there is none".
        """
        words = ["dnf", "-q", "--showduplicates", "repoquery", "--available", "--qf", QUERY, package]
        try:
            shown = self.host.run(words, timeout=UPDATE_TIMEOUT).stdout
        except CommandFailed as error:
            raise self._failed(f"could not look for {package}", error) from None
        found = set()
        for line in shown.splitlines():
            parts = line.split("\t")
            if len(parts) == 3 and parts[0] == package:
                found.add(Available(parts[1].removeprefix("0:"), parts[2]))
        return sorted(found, key=lambda each: functools.cmp_to_key(compare)(each.version), reverse=True)

    def update(self, source_file: str | None = None) -> None:
        """Refresh the repositories' metadata: all, or only those of the stack's own file, whose key must be valid today.

        Raises:
            StepFailed: a repository can't be read, or the stack's own key has expired.
        """
        if source_file:
            self._key_is_valid()
        only = ["--disablerepo=*", f"--enablerepo={REPOSITORY}"] if source_file else []
        try:
            self.host.run(["dnf", *OPTIONS, *only, "--refresh", "makecache"], timeout=UPDATE_TIMEOUT)
        except CommandFailed as error:
            raise self._failed("could not read its repositories", error) from None

    def install(self, packages: Sequence[str]) -> None:
        """Install packages (`name` or `name-version-release`) without weak dependencies.

        Raises:
            StepFailed: dnf could not, with its words.
        """
        transactions.begin(self.host)
        known = self.keys()
        try:
            self._install(packages)
        except CommandFailed as error:
            raise self._failed(f"could not install {' '.join(packages)}", error) from None
        finally:
            with clearing_up():
                self.host.script(NOTE_KEYS, [transactions.FOUND, *sorted(self.keys() - known)], cancellable=False)
                transactions.end(self.host)

    def exact(self, package: str, version: str) -> str:
        """`name-version-release`, with the epoch before the version where there is one."""
        return f"{package}-{version}"

    def source_files(self, repository: str, key: str | None, release: CloudStackVersion) -> dict[str, str]:
        """The repository, from which nothing but this release of CloudStack is taken, and its key."""
        files = {SOURCES: repository_text(repository, key, release)}
        return files | ({KEYRING: key.strip() + "\n"} if key else {})

    def hold_files(self, release: CloudStackVersion) -> dict[str, str]:
        """None: the stack's own repository shows one release; whoever has CloudStack in the machine's own repositories locks it there."""
        return {}

    def going_with(self, packages: Sequence[str]) -> list[str]:
        """What dnf would remove with them."""
        return self._ask("going", *(_spec(name) for name in packages if not name.startswith(KEY)))

    def unneeded(self) -> list[str]:
        """What dnf's autoremove would remove."""
        return self._ask("unneeded")

    def installers(self) -> dict[str, bool]:
        """By the comments in dnf's history, later transactions count; keys that came with a transaction of ours are noted."""
        lines = [line.split("\t", 1) for line in self._ask("history")]
        keys = (self.host.read(f"{transactions.FOUND}/keys") or b"").decode().split()
        return {name: MARK in comment for name, comment in lines} | dict.fromkeys(keys, True)

    def asked_for(self) -> set[str]:
        """What dnf knows as installed by the user."""
        return set(self._ask("asked"))

    def mark(self, package: str, *, asked_for: bool) -> None:
        """Installed by the user, or as a dependency."""
        self.host.run(["dnf", "-q", "-y", "mark", "install" if asked_for else "remove", package], timeout=120, cancellable=False)

    def remove(self, packages: Sequence[str]) -> None:
        """Remove exactly these, and what needs them; a key is a package to rpm alone."""
        keys = [name for name in packages if name.startswith(KEY)]
        if others := [name for name in packages if name not in keys]:
            self.host.run(["dnf", *OPTIONS, "remove", *(_spec(name) for name in others)], timeout=INSTALL_TIMEOUT, cancellable=False)
        if keys:
            self.host.run(["rpm", "-e", "--allmatches", *(name.removesuffix(":none") for name in keys)], timeout=120, cancellable=False)

    def keys(self) -> set[str]:
        """Keys that rpm knows, by their names as packages."""
        return {word for word in self.host.run(["rpm", "-q", "gpg-pubkey"], ok=(0, 1)).stdout.split() if word.startswith(KEY)}

    def _install(self, packages: Sequence[str]) -> None:
        words = ["dnf", *OPTIONS, "install", *packages]
        try:
            self.host.run(words, timeout=INSTALL_TIMEOUT)
        except CommandFailed as error:
            if not re.search(CLEANED, error.cause or ""):
                raise
            self.host.run(words, timeout=INSTALL_TIMEOUT)

    def _key_is_valid(self) -> None:
        """Rule: rpm before 4.19 takes what an expired key has signed; the same stack would be refused on a newer system."""
        states = [line.split() for line in self.host.script(KEY_STATES, [KEYRING]).stdout.splitlines()]
        ends = [int(each[1]) for each in states if len(each) == 2 and each[0] == "e" and each[1].isdigit()]
        if states and len(ends) == len(states):
            raise StepFailed(
                f"{self.host.name}: the key of the packages' repository has expired",
                f"it was valid until {datetime.fromtimestamp(max(ends), UTC):%Y-%m-%d}",
                "correct new.packages.key: write the repository's present key into it, then run `pulumi up` again",
            )

    def _ask(self, what: str, *names: str) -> list[str]:
        interpreter = self.host.run(["sh", "-c", INTERPRETER]).stdout.split()
        if not interpreter:
            raise StepFailed(
                f"{self.host.name}: dnf is not the program that is known here", "it names no Python", "use Enterprise Linux 8 to 10"
            )
        return self.host.run([*interpreter, "-", what, *names], input=ASK, timeout=300).stdout.splitlines()

    def _failed(self, what: str, error: CommandFailed) -> StepFailed:
        words = error.cause or error.fact
        remedy = next((text for pattern, text in REMEDIES if re.search(pattern, words)), "make what it names available to {host}")
        return StepFailed(f"{self.host.name}: dnf {what}", words, f"{remedy.format(host=self.host.name)}, then run `pulumi up` again")


def _spec(name: str) -> str:
    """A package as dnf takes it, where a list has it as `name:architecture`."""
    package, colon, architecture = name.partition(":")
    return f"{package}.{architecture}" if colon else package


def repository_text(repository: str, key: str | None, release: CloudStackVersion) -> str:
    """The repository's section.

    Raises:
        ConfigurationError: the stack names a repository of another kind.
    """
    if not re.match(r"^(https?|file)://", repository):
        raise ConfigurationError(
            f"new.packages.repository: {repository!r} is no address of an RPM repository",
            "a server of the EL family takes packages by dnf",
            "write the folder's address, such as `http://server/centos/$releasever/4.22/`",
        )
    check = [f"gpgkey=file://{KEYRING}", "gpgcheck=1"] if key else ["gpgcheck=0"]
    lines = [f"[{REPOSITORY}]", "name=CloudStack for the new servers", f"baseurl={repository}", "enabled=1", *check,
             "skip_if_unavailable=0", f"includepkgs=cloudstack*-{release}-*"]  # fmt: skip
    return "\n".join(lines) + "\n"


def compare(one: str, other: str) -> int:
    """rpm's order of two versions `epoch:version-release`: -1, 0 or 1."""
    for left, right in zip(_parts(one), _parts(other), strict=True):
        if order := _order(left, right):
            return order
    return 0


def _parts(text: str) -> tuple[str, str, str]:
    epoch, colon, rest = text.rpartition(":")
    version, _, release = rest.partition("-")
    return epoch if colon else "0", version, release


def _order(one: str, other: str) -> int:
    pattern = r"\d+|[A-Za-z]+|~|\^"
    left, right = re.findall(pattern, one), re.findall(pattern, other)
    for index in range(max(len(left), len(right))):
        mine, theirs = (each[index] if index < len(each) else "" for each in (left, right))
        if mine == theirs:
            continue
        ranks = (_rank(mine), _rank(theirs))
        if ranks[0] != ranks[1]:
            return 1 if ranks[0] > ranks[1] else -1
        if mine.isdigit() and int(mine) == int(theirs):
            continue
        return 1 if (int(mine) > int(theirs) if mine.isdigit() else mine > theirs) else -1
    return 0


def _rank(part: str) -> int:
    """A tilde comes before the end, a caret right behind it, letters before numbers."""
    return 0 if part == "~" else 1 if not part else 2 if part == "^" else 4 if part.isdigit() else 3
