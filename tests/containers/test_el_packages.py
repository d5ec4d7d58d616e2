"""dnf behind `Packages` on a machine shaped as Enterprise Linux: real transactions, scriptlets and repositories over the network, and what goes wrong there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import rpm_packages
from lab.packages import NEW, OLD
from parallel_build.cloudstack.services import Services
from parallel_build.errors import StepFailed
from parallel_build.health.server_files import read as read_files
from parallel_build.remote.access import Access
from parallel_build.remote.dnf import KEYRING, SOURCES, Dnf
from parallel_build.remote.families import EL, family_of
from parallel_build.remote.kept_packages import KeptRpms, kept_packages
from parallel_build.remote.packages import choose, faults, packages_of
from parallel_build.versions import CloudStackVersion
from tests.containers.el_stand import ADDRESS, ElStand, el_stand

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]
RELEASE = CloudStackVersion(NEW)
MANAGEMENT, AGENT = "cloudstack-management", "cloudstack-agent"
FOLDER = "/var/lib/parallel-build-agent"
OWN = f"{ADDRESS}/el-{NEW}/"


@pytest.fixture(scope="module")
def stand() -> Iterator[ElStand]:
    """Two machines: one to become a management server, and a KVM host."""
    if absent := [name for name in ("rpmbuild", "createrepo_c", "rpmsign", "gpg") if not shutil.which(name)]:
        pytest.skip(f"needs {', '.join(absent)}")
    with el_stand() as made:
        made.bench.machine("newms1")
        made.bench.machine("kvm1")
        yield made


def source(host: Access, repository: str = OWN, key: str | None = None) -> Dnf:
    """The stack's own repository on a server, its list read."""
    handled = packages_of(host)
    assert isinstance(handled, Dnf) and family_of(host) is EL
    for path, text in handled.source_files(repository, key, RELEASE).items():
        host.run(["install", "-d", "-m", "755", path.rpartition("/")[0]])
        host.write(path, text, mode=0o644)
    handled.update(handled.sources)
    return handled


@pytest.fixture
def clean(stand: ElStand) -> Iterator[ElStand]:
    """The management server without anything that a test installed."""
    yield stand
    stand.serve()
    gone = f"rm -f {SOURCES} {KEYRING} /etc/yum.repos.d/theirs.repo; dnf -q clean all"
    stand.shell("newms1", f"dnf -q -y remove 'cloudstack-*' 'standin-*' 'shape-*' >&2 || true; {gone}")


def test_the_release_is_installed_with_its_scripts_started_by_nobody_and_verified(clean: ElStand) -> None:
    def install(host: Access) -> None:
        handled = source(host)
        assert faults(handled, [MANAGEMENT], RELEASE) == {MANAGEMENT: "not installed"}
        found = handled.available(MANAGEMENT)
        assert [each.version for each in found] == [f"{NEW}-1"] and found[0].source == "cloudstack-parallel-build"
        handled.install([handled.exact(MANAGEMENT, choose(MANAGEMENT, "newms1", found, RELEASE).version), "cloudstack-usage"])
        assert faults(handled, [MANAGEMENT, "cloudstack-usage"], RELEASE) == {}
        assert handled.installed("cloudstack-common") == f"{NEW}-1"
        assert handled.asked_for() >= {MANAGEMENT, "cloudstack-usage"} and "standin-gawk" not in handled.asked_for()
        assert handled.installers()[MANAGEMENT] and handled.installers()["standin-gawk"] and not handled.installers().get("mariadb", False)
        services = Services(host)
        state = services.state(MANAGEMENT)
        assert state.enabled and not state.active, "the package enables its unit and starts nothing"
        assert not services.state("cloudstack-usage").enabled
        assert host.run(["id", "-un", "cloud"]).stdout.strip() == "cloud"
        assert host.run(["stat", "-c", "%a %U:%G", "/etc/cloudstack/management/db.properties"]).stdout.strip() == "640 root:cloud"
        assert host.run(["rpm", "-V", MANAGEMENT, "cloudstack-common"], ok=None).stdout == ""
        host.script("echo foreign.key=1 >>/etc/cloudstack/management/server.properties; touch /etc/cloudstack/management/own.xml")
        assert "S.5....T.  c /etc/cloudstack/management/server.properties" in host.run(["rpm", "-V", MANAGEMENT], ok=None).stdout

    clean.do("newms1", install)
    files = clean.do("newms1", lambda host: read_files(host, "salt"))
    assert files.family == "rpm" and files.own == {"/etc/cloudstack/management/own.xml": "belongs to no package"}
    assert files.changed == {"/etc/cloudstack/management/server.properties": "differs from its package"}


def test_what_this_stack_brought_goes_and_nothing_else(clean: ElStand) -> None:
    def there_and_back(host: Access) -> None:
        before = sorted(host.run(["rpm", "-qa"]).stdout.split())
        handled = source(host)
        handled.install([MANAGEMENT])
        assert handled.going_with(["cloudstack-common"]) == ["cloudstack-common", MANAGEMENT]
        handled.remove([MANAGEMENT])
        assert handled.unneeded() == ["cloudstack-common", "standin-gawk", "standin-libmpfr6", "standin-libsigsegv2"]
        handled.remove(handled.unneeded())
        assert sorted(host.run(["rpm", "-qa"]).stdout.split()) == before
        assert not Services(host).state(MANAGEMENT).enabled

    clean.do("newms1", there_and_back)


def test_another_release_is_out_of_reach_although_the_machine_knows_it(clean: ElStand) -> None:
    def both(host: Access) -> None:
        host.write("/etc/yum.repos.d/theirs.repo", f"[theirs]\nname=theirs\nbaseurl={ADDRESS}/el-{OLD}/\ngpgcheck=0\n", mode=0o644)
        handled = source(host)
        versions = [each.version for each in handled.available(MANAGEMENT)]
        assert versions == [f"{NEW}-1", f"{OLD}-1"]
        with pytest.raises(StepFailed, match=rf"there is no {MANAGEMENT} 4\.21\.0\.0.*available: {OLD}-1, {NEW}-1"):
            choose(MANAGEMENT, "newms1", handled.available(MANAGEMENT), CloudStackVersion("4.21.0.0"))
        # An older one that was there comes up to the release, and dnf's own history undoes it.
        host.run(["dnf", "-q", "-y", "install", f"{MANAGEMENT}-{OLD}"], timeout=300)
        assert faults(handled, [MANAGEMENT], RELEASE) == {MANAGEMENT: f"{OLD}-1"}
        handled.install([handled.exact(MANAGEMENT, f"{NEW}-1")])
        assert handled.installed(MANAGEMENT) == handled.installed("cloudstack-common") == f"{NEW}-1"
        state = Services(host).state(MANAGEMENT)
        assert not state.enabled, "the old package's script disables what the new one's has enabled"
        host.run(["dnf", "-q", "-y", "history", "undo", "last"], timeout=300)
        assert handled.installed(MANAGEMENT) == handled.installed("cloudstack-common") == f"{OLD}-1"

    clean.do("newms1", both)


def test_agents_packages_lie_ready_are_installed_without_a_network_and_put_back(clean: ElStand) -> None:
    stand = clean
    versions = {AGENT: f"{NEW}-1", "cloudstack-common": f"{NEW}-1"}

    def kept(host: Access) -> KeptRpms:
        found = kept_packages(host, FOLDER)
        assert isinstance(found, KeptRpms)
        return found

    def fetch(host: Access) -> None:
        host.write("/etc/yum.repos.d/theirs.repo", f"[theirs]\nname=theirs\nbaseurl={ADDRESS}/el-{OLD}/\ngpgcheck=0\n", mode=0o644)
        host.run(["dnf", "-q", "-y", "install", f"{AGENT}-{OLD}"], timeout=300)
        before = host.script("ls -R /etc/yum.repos.d /var/lib/dnf /var/cache/dnf; rpm -qa | sort").stdout
        assert kept(host).fetched() == {}
        assert kept(host).fetch([AGENT, "cloudstack-common"], RELEASE, OWN, None) == versions == kept(host).fetched()
        assert kept(host).fetch([AGENT, "cloudstack-common"], RELEASE, OWN, None) == versions, "again, with the files there"
        shown = host.run(["sh", "-c", f"cd {FOLDER}; ls new/*.rpm old/*.rpm"]).stdout.split()
        assert shown == [f"{where}/{name}-{version}-1.noarch.rpm" for where, version in (("new", NEW), ("old", OLD)) for name in versions]
        assert host.script("ls -R /etc/yum.repos.d /var/lib/dnf /var/cache/dnf; rpm -qa | sort").stdout == before, (
            "nothing of the host's own is changed"
        )

    stand.do("kvm1", fetch)
    stand.stop()
    for _ in range(2):  # What was begun is done again after an interruption.
        stand.do("kvm1", lambda host: kept(host).install(300))
        assert stand.do("kvm1", lambda host: {name: Dnf(host).installed(name) for name in versions}) == versions
    state = stand.do("kvm1", lambda host: Services(host).state(AGENT))
    assert state.enabled and not state.active, "the package's scripts enable it and start nothing"
    for _ in range(2):
        stand.do("kvm1", lambda host: kept(host).put_back(300))
        assert set(stand.do("kvm1", lambda host: [Dnf(host).installed(name) for name in versions])) == {f"{OLD}-1"}
    stand.do("kvm1", lambda host: kept(host).remove())
    assert not stand.do("kvm1", lambda host: host.run(["test", "-e", FOLDER], ok=(0, 1)).ok)


def test_a_rollback_half_done_is_ended(clean: ElStand) -> None:
    stand = clean

    def half(host: Access) -> None:
        kept = kept_packages(host, FOLDER)
        kept.fetch([AGENT, "cloudstack-common"], RELEASE, OWN, None)
        kept.install(300)
        host.run(["rpm", "-U", "--oldpackage", "--nodeps", f"{FOLDER}/old/cloudstack-common-{OLD}-1.noarch.rpm"], timeout=300)
        kept.put_back(300)
        assert {Dnf(host).installed(name) for name in (AGENT, "cloudstack-common")} == {f"{OLD}-1"}
        # A host that has the release already.
        kept.install(300)
        assert kept.fetch([AGENT, "cloudstack-common"], RELEASE, OWN, None) == kept.fetched()
        kept.install(300)
        kept.put_back(300)
        assert {Dnf(host).installed(name) for name in (AGENT, "cloudstack-common")} == {f"{NEW}-1"}, "it had that one before"
        host.run(["dnf", "-q", "-y", "downgrade", f"{AGENT}-{OLD}", f"cloudstack-common-{OLD}"], timeout=300)
        assert "is there twice" not in host.run(["sh", "-c", "rpm -qa | sort | uniq -d"]).stdout
        kept.remove()

    stand.do("kvm1", half)


def test_another_transaction_of_rpm_is_named(clean: ElStand) -> None:
    stand = clean
    slow = "%pre\ntouch /run/begun\nfor i in $(seq 120); do [ -e /run/go ] && exit 0; sleep 0.5; done"
    file = stand.small("slow", "shape-slow", more=slow)
    stand.serve()

    def refused(host: Access) -> None:
        handled = source(host)
        host.script(
            f"rm -f /run/go /run/begun; curl -s -o /run/slow.rpm {ADDRESS}/slow/{file.name}; systemd-run -q --unit=slow rpm -i /run/slow.rpm\n"
            "until [ -e /run/begun ]; do sleep 0.1; done"
        )
        with pytest.raises(StepFailed, match="another rpm or dnf holds the package database there"):
            handled.install([MANAGEMENT])
        host.script("touch /run/go; while systemctl is-active -q slow; do sleep 0.2; done; rm -f /run/go /run/begun; rpm -e shape-slow")
        handled.install([MANAGEMENT])
        assert handled.installed(MANAGEMENT) == f"{NEW}-1"

    stand.do("newms1", refused)


def test_a_dead_mirror_and_a_package_that_is_not_there_are_named(clean: ElStand) -> None:
    def missing(host: Access) -> None:
        with pytest.raises(StepFailed, match=r"(?s)no-such-package.*correct new\.packages\.names"):
            source(host).install(["no-such-package"])
        with pytest.raises(StepFailed, match="let newms1 reach that repository"):
            source(host, f"{ADDRESS}/el-9.9.9.9/")

    clean.do("newms1", missing)
    clean.stop()

    def dead(host: Access) -> None:
        with pytest.raises(StepFailed, match="let newms1 reach that repository"):
            source(host)
        host.run(["dnf", "-q", "clean", "all"])
        with pytest.raises(StepFailed, match="let newms1 reach that repository"):
            packages_of(host).install([MANAGEMENT])
        assert packages_of(host).installed(MANAGEMENT) is None

    clean.do("newms1", dead)


def test_a_full_disk_is_named_and_leaves_nothing_half_installed(clean: ElStand) -> None:
    def full(host: Access) -> None:
        handled = source(host)
        for folder, size in (("/usr/share/cloudstack-management", "64k"), ("/var/cache/dnf", "64k")):
            host.script(f"mkdir -p {folder}; mount -t tmpfs -o size={size} none {folder}")
            try:
                with pytest.raises(StepFailed, match="free space on newms1"):
                    handled.install([MANAGEMENT])
                assert handled.installed(MANAGEMENT) is None and handled.installed("cloudstack-common") is None
            finally:
                host.run(["umount", folder], cancellable=False)
        handled.install([MANAGEMENT])
        assert handled.installed(MANAGEMENT) == f"{NEW}-1"

    clean.do("newms1", full)


def test_a_key_that_rpm_took_over_for_a_download_goes_with_the_files(clean: ElStand) -> None:
    stand = clean
    key = signed(stand, "kept", expires="0")
    stand.small("older", "cloudstack-kept", OLD)
    stand.serve()

    def fetch(host: Access) -> None:
        keys = Dnf(host).keys()
        host.write("/etc/yum.repos.d/older.repo", f"[older]\nname=older\nbaseurl={ADDRESS}/older/\ngpgcheck=0\n", mode=0o644)
        host.run(["dnf", "-q", "-y", "install", f"cloudstack-kept-{OLD}"], timeout=300)
        kept = kept_packages(host, FOLDER)
        kept.fetch(["cloudstack-kept"], RELEASE, f"{ADDRESS}/kept/", key)
        assert len(Dnf(host).keys() - keys) == 1
        kept.remove()
        assert Dnf(host).keys() == keys
        host.script("dnf -q -y remove cloudstack-kept; rm /etc/yum.repos.d/older.repo")

    stand.do("kvm1", fetch)


def signed(stand: ElStand, name: str, *, expires: str) -> str:
    """A repository whose packages a key of its own has signed years ago; that key."""
    home = stand.folder / f"gnupg-{name}"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--faked-system-time", "20240101T000000!"]
    subprocess.run(
        [*gpg, "--passphrase", "", "--quick-gen-key", name, "rsa2048", "sign", expires], check=True, capture_output=True, timeout=120
    )
    file = stand.small(name, f"cloudstack-{name}", NEW)
    words = (
        f"gpg --batch --no-armor --faked-system-time 20240101T000100! -u {name} -sbo %{{__signature_filename}} %{{__plaintext_filename}}"
    )
    command = f"__gpg_sign_cmd %{{__gpg}} {words}"
    subprocess.run(
        ["rpmsign", "--define", f"_gpg_name {name}", "--define", f"__gpg {shutil.which('gpg')}", "--define", command, "--addsign", str(file)],
        check=True, capture_output=True, timeout=60, env={**os.environ, "GNUPGHOME": str(home)},
    )  # fmt: skip
    rpm_packages.index(Path(file.parent))
    return subprocess.run([*gpg, "--armor", "--export", name], check=True, capture_output=True, text=True, timeout=60).stdout


def test_signatures_count_and_a_key_that_has_expired_is_named(clean: ElStand) -> None:
    good, stranger, expired = (signed(clean, name, expires=until) for name, until in (("good", "0"), ("stranger", "0"), ("expired", "30d")))
    clean.serve()

    def install(host: Access) -> None:
        handled = source(host, f"{ADDRESS}/good/", stranger)
        with pytest.raises(StepFailed, match=r"correct new\.packages\.key"):
            handled.install(["cloudstack-good"])
        assert handled.installed("cloudstack-good") is None
        handled = source(host, f"{ADDRESS}/good/", good)
        handled.install(["cloudstack-good"])
        assert handled.installed("cloudstack-good") == f"{NEW}-1"
        with pytest.raises(StepFailed, match=r"expired.*until 2024-01-31.*correct new\.packages\.key"):
            source(host, f"{ADDRESS}/expired/", expired)

    clean.do("newms1", install)
