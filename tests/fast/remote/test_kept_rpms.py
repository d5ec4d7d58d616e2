"""Package files kept on a KVM host of the EL family: real downloads, transactions and keys, in a root with an rpm database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_build.errors import StepFailed
from parallel_build.remote.dnf import Dnf
from parallel_build.remote.kept_packages import KeptRpms, kept_packages
from parallel_build.versions import CloudStackVersion
from tests.fast.remote.test_dnf import Builder, ElHost, real

pytestmark = [real, pytest.mark.engine]
OLD, NEW = "4.20.3.0", "4.22.1.0"
RELEASE = CloudStackVersion(NEW)
NAMES = ["cloudstack-agent", "cloudstack-common"]
FOLDER = "/var/lib/x/agent"
OWN = "file:///mnt/new/repository"
THEIRS = "[theirs]\nname=theirs\nbaseurl=file:///mnt/old/repository\ngpgcheck=0\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The host's own repository, and one of the new release, signed; its key."""
    found, keys = tmp_path_factory.mktemp("rpms"), ""
    for name, version in (("old", OLD), ("new", NEW)):
        builder = Builder(found / name)
        builder.rpm("cloudstack-common", f"{version}-1")
        builder.rpm("cloudstack-agent", f"{version}-1", tags=f"Requires: cloudstack-common = {version}-1")
        if name == "new":
            keys = builder.keys()[0]
            builder.sign()
        builder.publish()
    return found, keys


@pytest.fixture
def host(folder: tuple[Path, str], tmp_path: Path) -> Iterator[ElHost]:
    """A host with the old agent."""
    made = ElHost(tmp_path, folder[0])
    made.write("/etc/yum.repos.d/theirs.repo", THEIRS)
    made.run(["dnf", "-q", "-y", "install", "cloudstack-agent"])
    yield made
    made.close()


def kept(host: ElHost) -> KeptRpms:
    found = kept_packages(host, FOLDER)
    assert isinstance(found, KeptRpms)
    return found


def versions(host: ElHost) -> set[str | None]:
    return {Dnf(host).installed(name) for name in NAMES}


def test_fetched_installed_without_a_repository_and_put_back(host: ElHost, folder: tuple[Path, str]) -> None:
    keys = Dnf(host).keys()
    assert versions(host) == {f"{OLD}-1"} and kept(host).fetched() == {}
    for _ in range(2):
        assert kept(host).fetch(NAMES, RELEASE, OWN, folder[1]) == dict.fromkeys(NAMES, f"{NEW}-1") == kept(host).fetched()
    shown = host.run(["sh", "-c", f"cd {FOLDER}; ls new/*.rpm old/*.rpm"]).stdout.split()
    assert shown == [f"{where}/{name}-{version}-1.noarch.rpm" for where, version in (("new", NEW), ("old", OLD)) for name in NAMES]
    assert versions(host) == {f"{OLD}-1"} and len(Dnf(host).keys() - keys) == 1, "the download was checked with the key"
    host.run(["rm", "/etc/yum.repos.d/theirs.repo", f"{FOLDER}/parts/theirs.repo"])
    for _ in range(2):
        kept(host).install(300)
        assert versions(host) == {f"{NEW}-1"}
    for _ in range(2):
        kept(host).put_back(300)
        assert versions(host) == {f"{OLD}-1"}
    kept(host).remove()
    assert Dnf(host).keys() == keys, "a key that rpm took over for a download of ours goes with the files"
    assert not host.run(["test", "-e", FOLDER], ok=(0, 1)).ok


def test_a_reverse_that_was_cut_off_is_ended(host: ElHost, folder: tuple[Path, str]) -> None:
    kept(host).fetch(NAMES, RELEASE, OWN, folder[1])
    kept(host).install(300)
    host.run(["rpm", "-U", "--oldpackage", "--nodeps", f"{FOLDER}/old/cloudstack-common-{OLD}-1.noarch.rpm"])
    kept(host).put_back(300)
    assert versions(host) == {f"{OLD}-1"}


def test_a_host_that_has_the_release_already_keeps_it(host: ElHost, folder: tuple[Path, str]) -> None:
    kept(host).fetch(NAMES, RELEASE, OWN, folder[1])
    kept(host).install(300)
    assert kept(host).fetch(NAMES, RELEASE, OWN, folder[1]) == dict.fromkeys(NAMES, f"{NEW}-1")
    kept(host).install(300)
    kept(host).put_back(300)
    assert versions(host) == {f"{NEW}-1"}


def test_what_an_earlier_fetch_left_is_not_installed(host: ElHost, folder: tuple[Path, str]) -> None:
    host.write(f"{FOLDER}/new/cloudstack-agent-{OLD}-1.noarch.rpm", "of another build")
    host.write(f"{FOLDER}/parts/gone.repo", "[gone]\nname=gone\nbaseurl=file:///mnt/nowhere\n")
    kept(host).fetch(NAMES, RELEASE, OWN, folder[1])
    kept(host).install(300)
    assert versions(host) == {f"{NEW}-1"}


def test_a_repository_that_is_not_there_is_no_lack_of_packages(host: ElHost) -> None:
    with pytest.raises(StepFailed, match=r"(?s)can't be fetched.*repomd\.xml"):
        kept(host).fetch(NAMES, RELEASE, "file:///mnt/nowhere", None)
    assert kept(host).fetched() == {}
    host.write(
        "/etc/yum.repos.d/cloudstack-parallel-build.repo",
        "[cloudstack-parallel-build]\nname=x\nbaseurl=file:///mnt/nowhere\ngpgcheck=0\nskip_if_unavailable=0\n",
    )
    with pytest.raises(StepFailed, match="let newms1 reach that repository"):
        Dnf(host).available("cloudstack-agent")
