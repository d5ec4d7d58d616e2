"""dnf behind `Packages`: real transactions on a real rpm database, in a root of its own over this machine's, with RPMs that the test builds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import CommandFailed, ConfigurationError, StepFailed
from parallel_build.machines.existing import script_files
from parallel_build.machines.existing.manifest import Manifest, Record
from parallel_build.machines.existing.packages import PackageUndo
from parallel_build.remote import dnf
from parallel_build.remote.dnf import Dnf
from parallel_build.remote.openssh import Result
from parallel_build.remote.packages import choose, faults, packages_of
from parallel_build.secret import Secret
from parallel_build.versions import CloudStackVersion
from tests import small_rpm
from tests.fast.local_host import LocalHost

RELEASE = CloudStackVersion("4.22.1.0")
PROGRAMS = ("dnf", "rpm", "rpmbuild", "rpmsign", "createrepo_c", "gpg", "unshare")
ABSENT = [name for name in PROGRAMS if not shutil.which(name)]
real = pytest.mark.skipif(bool(ABSENT) or os.getuid() != 0, reason=f"needs root and {', '.join(ABSENT) or 'nothing else'}")
ENTER = r"""
set -eu
mkdir -p "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"; mount --rbind /dev "$1/root/dev"; mount --rbind "$2" "$1/root/mnt"
rm -rf "$1/root/var/lib/rpm" "$1/root/var/lib/dnf" "$1/root/var/cache/dnf" "$1/root/etc/yum.repos.d"
mkdir -p "$1/root/var/lib/rpm" "$1/root/etc/yum.repos.d" "$1/root/etc/pki/rpm-gpg"
printf 'ID="rocky"\nID_LIKE="rhel centos fedora"\nPRETTY_NAME="Shape of EL 9"\nVERSION_ID="9.4"\n' >"$1/root/etc/os-release.new"
rm -f "$1/root/etc/os-release"; mv "$1/root/etc/os-release.new" "$1/root/etc/os-release"
printf '[main]\nreposdir=/etc/yum.repos.d\nbest=True\n' >"$1/root/etc/dnf/dnf.conf"
mkdir -p "$1/root/etc/rpm"; echo '%_dbpath /var/lib/rpm' >"$1/root/etc/rpm/macros"
for folder in work root home tmp; do mount -t tmpfs none "$1/root/$folder"; done
chroot "$1/root" rpm --initdb
test -e "$1/root/var/lib/rpm/rpmdb.sqlite"
echo ready
exec sleep 3000
"""


class ElHost(LocalHost):
    """A root with an rpm database of its own."""

    def __init__(self, folder: Path, repositories: Path) -> None:
        super().__init__("newms1")
        self.root = folder / "root"
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", ENTER, "sh", str(folder), str(repositories)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def run(
        self, argv: Sequence[str], *, timeout: float = 120, input: Any = None, ok: Sequence[int] | None = (0,), cancellable: bool = True
    ) -> Result:
        words = ["nsenter", "-t", str(self.process.pid), "-m", "chroot", str(self.root), *argv]
        given = input.reveal() if isinstance(input, Secret) else input
        given = given.decode() if isinstance(given, bytes) else given
        done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=timeout, check=False, cwd="/")
        if ok is not None and done.returncode not in ok:
            raise CommandFailed(f"{self.name}: {argv[0]} ended with exit code {done.returncode}", done.stderr or done.stdout, "")
        return Result(done.returncode, done.stdout, done.stderr)

    def read(self, path: str, **_: Any) -> bytes | None:
        shown = self.run(["sh", "-c", 'test -e "$1" || exit 44; cat "$1"', "sh", path], ok=(0, 44))
        return None if shown.code == 44 else shown.stdout.encode()

    def write(self, path: str, content: bytes | str | Secret, **_: Any) -> None:
        self.run(["sh", "-c", 'mkdir -p "$(dirname "$1")"; cat >"$1"', "sh", path], input=content)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


class Builder:
    """Makes small RPMs and a repository of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, ""
        (folder / "repository").mkdir(parents=True)
        gnupg = folder / "gnupg"
        gnupg.mkdir(mode=0o700)
        self.environment = {**os.environ, "GNUPGHOME": str(gnupg)}

    def keys(self) -> tuple[str, str]:
        """Two keys: the one that packages are signed with, and a stranger's."""
        found = []
        for name in ("signer", "stranger"):
            self._run("gpg", "--batch", "--passphrase", "", "--quick-gen-key", name, "rsa2048", "sign", "never")
            found.append(self._run("gpg", "--armor", "--export", name))
        return found[0], found[1]

    def rpm(self, name: str, version: str, *, tags: str = "", scripts: str = "") -> None:
        small_rpm.build(self.folder, self.folder / "repository", name, version, tags=tags, scripts=scripts)

    def sign(self) -> None:
        packages = [str(path) for path in (self.folder / "repository").rglob("*.rpm")]
        self._run("rpmsign", "--define", "_gpg_name signer", "--define", f"__gpg {shutil.which('gpg')}", "--addsign", *packages)

    def publish(self) -> None:
        self._run("createrepo_c", "-q", str(self.folder / "repository"))

    def _run(self, *words: str) -> str:
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Builder, str, str]:
    """A signed repository as CloudStack's: two builds of one release, a later one, and what they need."""
    builder = Builder(tmp_path_factory.mktemp("rpms"))
    signer, stranger = builder.keys()
    for version in ("4.22.1.0-1", "4.22.1.0-2", "4.22.1.0-10", "4.23.0.0-1"):
        builder.rpm("cloudstack-common", version)
        builder.rpm("cloudstack-management", version, tags=f"Requires: cloudstack-common = {version}\nRecommends: cloudstack-ui")
    builder.rpm("cloudstack-ui", "4.22.1.0-1")
    builder.rpm("other-tool", "2.0-1", tags="Requires: cloudstack-common")
    builder.sign()
    builder.publish()
    return builder, signer, stranger


@pytest.fixture
def el(built: tuple[Builder, str, str], tmp_path: Path) -> Iterator[ElHost]:
    host = ElHost(tmp_path, built[0].folder)
    yield host
    host.close()


def _sources(el: ElHost, key: str | None, repository: str = "file:///mnt/repository") -> Dnf:
    handled = packages_of(el)
    assert isinstance(handled, Dnf)
    for path, text in handled.source_files(repository, key, RELEASE).items():
        el.write(path, text)
    return handled


@real
@pytest.mark.engine
def test_exactly_the_release_is_installed_and_goes_without_a_trace(el: ElHost, built: tuple[Builder, str, str]) -> None:
    handled = _sources(el, built[1])
    handled.update(handled.sources)
    assert [each.version for each in handled.available("cloudstack-management")] == ["4.22.1.0-10", "4.22.1.0-2", "4.22.1.0-1"]
    assert faults(handled, ["cloudstack-management"], RELEASE) == {"cloudstack-management": "not installed"}
    chosen = choose("cloudstack-management", "newms1", handled.available("cloudstack-management"), RELEASE)
    handled.install([handled.exact("cloudstack-management", chosen.version)])
    assert handled.installed("cloudstack-management") == "4.22.1.0-10" and faults(handled, ["cloudstack-management"], RELEASE) == {}
    assert handled.installed("cloudstack-ui") is None, "only recommended"
    assert "cloudstack-common" in handled.dependencies("cloudstack-management")
    assert handled.asked_for() == {"cloudstack-management"}
    assert handled.installers() == {"cloudstack-management": True, "cloudstack-common": True}
    # Somebody else's, which needs what came with ours.
    el.write("/etc/yum.repos.d/theirs.repo", "[theirs]\nname=theirs\nbaseurl=file:///mnt/repository\ngpgcheck=0\n")
    el.run(["dnf", "-q", "-y", "install", "other-tool"])
    assert handled.installers()["other-tool"] is False
    assert handled.going_with(["cloudstack-management"]) == ["cloudstack-management"]
    assert handled.going_with(["cloudstack-common:noarch"]) == handled.going_with(["cloudstack-common"])
    assert handled.going_with(["cloudstack-common"]) == ["cloudstack-common", "cloudstack-management", "other-tool"]
    assert handled.installed("cloudstack-common") == "4.22.1.0-10", "only asked"
    handled.remove(["cloudstack-management"])
    assert handled.installed("cloudstack-management") is None and handled.installed("cloudstack-common") == "4.22.1.0-10"
    assert handled.unneeded() == [], "other-tool needs it"
    handled.remove(["other-tool"])
    assert handled.unneeded() == ["cloudstack-common"]
    handled.mark("cloudstack-common", asked_for=True)
    assert handled.unneeded() == [] and handled.asked_for() == {"cloudstack-common"}
    handled.mark("cloudstack-common", asked_for=False)
    handled.remove(handled.unneeded())
    assert [line for line in el.run(["rpm", "-qa"]).stdout.split() if not line.startswith("gpg-pubkey")] == []
    assert not el.run(["test", "-e", "/opt/cloudstack-common"], ok=(0, 1)).ok


@real
@pytest.mark.engine
def test_packages_that_another_key_signed_are_refused(el: ElHost, built: tuple[Builder, str, str]) -> None:
    handled = _sources(el, built[2])
    with pytest.raises(StepFailed, match=r"correct new\.packages\.key"):
        handled.install(["cloudstack-management"])
    assert handled.installed("cloudstack-management") is None


@real
@pytest.mark.engine
def test_a_key_that_has_expired_is_refused_before_anything_is_taken(el: ElHost, built: tuple[Builder, str, str], tmp_path: Path) -> None:
    gpg = ["gpg", "--homedir", str(tmp_path), "--batch", "--faked-system-time", "20240101T000000!"]
    tmp_path.chmod(0o700)
    subprocess.run(
        [*gpg, "--passphrase", "", "--quick-gen-key", "old", "rsa2048", "sign", "30d"], check=True, capture_output=True, timeout=60
    )
    expired = subprocess.run([*gpg, "--armor", "--export", "old"], check=True, capture_output=True, text=True, timeout=60).stdout
    handled = _sources(el, expired)
    with pytest.raises(StepFailed, match=r"expired.*until 2024-01-31.*correct new\.packages\.key"):
        handled.update(handled.sources)
    _sources(el, built[1]).update(handled.sources)


@real
@pytest.mark.engine
def test_a_repository_that_is_not_there_is_named(el: ElHost) -> None:
    handled = _sources(el, None, "file:///mnt/nowhere")
    with pytest.raises(StepFailed, match=r"let newms1 reach that repository"):
        handled.update(handled.sources)
    with pytest.raises(StepFailed, match=r"let newms1 reach that repository"):
        handled.install(["cloudstack-management"])


@real
@pytest.mark.engine
def test_a_package_that_is_not_there_is_named(el: ElHost, built: tuple[Builder, str, str]) -> None:
    handled = _sources(el, built[1])
    with pytest.raises(StepFailed, match=r"(?s)no-such-package.*correct new\.packages\.names"):
        handled.install(["no-such-package"])


@real
@pytest.mark.engine
def test_a_locked_package_database_is_reported(el: ElHost, built: tuple[Builder, str, str]) -> None:
    handled = _sources(el, built[1])
    el.run(["rpm", "-qa"])
    hold = "import fcntl, sys, time; f = open('/var/lib/rpm/.rpm.lock', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(300)"
    words = ["nsenter", "-t", str(el.process.pid), "-m", "chroot", str(el.root), "python3", "-c", hold]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd="/")
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(StepFailed, match="another rpm or dnf holds the package database"):
            handled.install(["cloudstack-management"])
    finally:
        holder.kill()
        holder.wait()
    handled.install(["cloudstack-management"])
    assert handled.installed("cloudstack-management") == "4.22.1.0-10"


class Refusing(LocalHost):
    """dnf ends with words, gpg shows a key; everything else does nothing."""

    def __init__(self, words: str = "", keys: str = "") -> None:
        super().__init__("newms1")
        self.words, self.keys = words, keys

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        if "dnf" in argv and self.words:
            raise CommandFailed("newms1: dnf ended with exit code 1", self.words, "")
        return Result(0, self.keys if dnf.KEYRING in argv else "", "")


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (
            "Error: Transaction test error: installing package needs 4MB more space on the / filesystem\nDisk Requirements:",
            "free space on newms1",
        ),
        ("[Errno 28] No space left on device: '/var/cache/dnf/x'", "free space on newms1"),
        ("Curl error (23): Failed writing received data to disk/application for http://packages.example/x.rpm", "free space on newms1"),
        ("Error: Failed to download metadata: Cannot download repomd.xml: All mirrors were tried", "let newms1 reach that repository"),
        ("Error: Unable to find a match: cloudstack-management", "correct new.packages.names"),
        ("something else", "make what it names available to newms1"),
    ],
)
def test_words_of_dnf_lead_to_what_can_be_done(words: str, remedy: str) -> None:
    with pytest.raises(StepFailed) as found:
        Dnf(Refusing(words)).install(["cloudstack-management"])
    assert remedy in found.value.remedy and words in (found.value.cause or "")


@pytest.mark.parametrize(
    ("keys", "refused"), [("", False), ("e 1706659200\n", True), ("e 1706659200\n- \n", False), ("e 1\ne 1706659200\n", True)]
)
def test_a_key_that_has_expired_is_refused_where_none_is_valid(keys: str, refused: bool) -> None:
    handled = Dnf(Refusing(keys=keys))
    if not refused:
        handled.update(handled.sources)
        return
    with pytest.raises(StepFailed, match=r"has expired.*2024-01-31"):
        handled.update(handled.sources)
    handled.update()  # the machine's own repositories have keys of their own


@pytest.mark.processes
@pytest.mark.skipif(not shutil.which("rpm"), reason="no rpm here")
@pytest.mark.parametrize(
    ("one", "other"),
    [("1.0", "1.0"), ("1.0", "1.1"), ("1.10", "1.9"), ("1.0a", "1.0"), ("1.0~rc1", "1.0"), ("1.0^git1", "1.0"), ("1.0^git1", "1.0.1"), ("01", "1"),
     ("1a", "1.1"),
     ("4.22.1.0", "4.22.1"), ("2.el9", "10.el9"), ("1.el8", "1.el9"), ("abc", "1")],
)  # fmt: skip
def test_versions_are_ordered_as_rpm_orders_them(one: str, other: str) -> None:
    def rpm(left: str, right: str) -> int:
        text = f"%{{lua: print(rpm.vercmp('{left}', '{right}'))}}"
        return int(subprocess.run(["rpm", "--eval", text], capture_output=True, text=True, check=True).stdout)

    for left, right in ((one, other), (other, one)):
        assert dnf.compare(f"{left}-1", f"{right}-1") == rpm(left, right)
        assert dnf.compare(f"1.0-{left}", f"1.0-{right}") == rpm(left, right)


def test_an_epoch_counts_before_the_version() -> None:
    assert dnf.compare("1:1.0-1", "2.0-1") == 1 and dnf.compare("0:2.0-1", "2.0-1") == 0


def test_a_repository_of_the_other_family_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigurationError, match=r"new\.packages\.repository: 'deb .* is no address of an RPM repository"):
        dnf.repository_text("deb http://packages.example/ jammy 4.22", None, RELEASE)


def test_a_release_of_three_numbers_is_taken_as_it_is_written() -> None:
    text = dnf.repository_text("http://packages.example/centos/9/24.0/", "KEY", CloudStackVersion("24.0.0"))
    assert "includepkgs=cloudstack*-24.0.0-*\n" in text and "gpgcheck=1\n" in text


TRACES = """
%pre
getent group shapers >/dev/null || echo 'shapers:x:7777:' >>/etc/group
%post
echo generated >/etc/shape-generated.conf
"""


@real
@pytest.mark.engine
def test_an_existing_server_is_left_as_it_was_found(el: ElHost, built: tuple[Builder, str, str]) -> None:
    builder = built[0]
    builder.rpm("shape-base", "1-1", tags="Provides: /bin/sh")
    builder.rpm("cloudstack-shape", "4.22.1.0-1", tags="Requires: cloudstack-common = 4.22.1.0-1", scripts=TRACES)
    builder.sign()
    builder.publish()
    host, printed = el, list[str]()
    manifest = Manifest(host)
    el.write("/etc/yum.repos.d/theirs.repo", "[theirs]\nname=theirs\nbaseurl=file:///mnt/repository\ngpgcheck=0\n")
    el.run(["dnf", "-q", "-y", "install", "cloudstack-ui", "shape-base"])
    manifest.take(Record("test", "2026-01-01T00:00:00Z", ["cloudstack-shape"]))
    found, paths = manifest.packages(), manifest.paths()
    assert {name: version for name, (version, _) in found.items()} == {"cloudstack-ui:noarch": "0:4.22.1.0-1", "shape-base:noarch": "0:1-1"}
    assert manifest.lines("asked-for") == ["cloudstack-ui", "shape-base"]
    handled = _sources(el, built[1])
    handled.install(["cloudstack-shape"])
    undo = PackageUndo(host, {"cloudstack-shape"}, lambda text, **more: printed.append(text), printed.append)
    going = undo.going(found)
    assert {name.split(":")[0] for name in going if "pubkey" not in name} == {"cloudstack-common", "cloudstack-shape"}
    assert len([name for name in going if name.startswith("gpg-pubkey-")]) == 1, "the key came with our transaction"
    undo.note_accounts(found)
    script_files.note(host, going, paths)
    undo.purge(found)
    assert script_files.remove(host, paths) == ["/etc/shape-generated.conf"]
    undo.remove_accounts()
    assert undo.prove(found), printed
    assert manifest.packages_now() == found
    assert not el.run(["getent", "group", "shapers"], ok=(0, 2)).ok
    left = set(manifest.paths_now()) - set(paths)
    assert {path for path in left if not path.startswith(("/var/lib/", "/var/cache/", "/var/log/", "/var/tmp/"))} == {
        "/etc/pki/rpm-gpg/RPM-GPG-KEY-cloudstack-parallel-build", "/etc/yum.repos.d/cloudstack-parallel-build.repo",
    }, "the steps' own files, which the undo's next part removes"  # fmt: skip
