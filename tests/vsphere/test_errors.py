"""What an operator reads when something named is not in vCenter, or vCenter itself is in the way."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.vsphere.conftest import FOLDER, Project, Simulator, make_project

pytestmark = pytest.mark.vsphere

WRONG_NAMES = {
    "datacenter": "data centre",
    "cluster": "cluster",
    "resourcePool": "resource pool",
    "datastore": "datastore",
    "folder": "folder",
    "network": "network",
    "distributedSwitch": "distributed switch",
    "template": "template",
}


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory, shared_simulator: Simulator) -> Project:
    """A project that never gets beyond its preview."""
    return make_project(tmp_path_factory.mktemp("errors") / "project", shared_simulator.address)


def refused(project: Project, changes: dict[str, Any], **variables: str) -> str:
    """What a preview says with these changes; they are taken back."""
    before = {path: project.values["platforms"]["vsphere"].get(path.split(".")[-1]) for path in changes}
    for path, value in changes.items():
        project.set(f"platforms.vsphere.{path}", value)
    try:
        printed = project.pulumi("preview", ok=False, **variables)
    finally:
        for path, value in before.items():
            project.set(f"platforms.vsphere.{path}", value)
    assert "Traceback" not in printed
    assert "Remedy: " in printed
    return printed


@pytest.mark.parametrize("setting", WRONG_NAMES)
def test_a_wrong_name_is_named_with_its_setting(looking: Project, setting: str) -> None:
    printed = refused(looking, {setting: "nope"})
    assert (
        f"platforms.vsphere.{setting}: vCenter {looking.values['platforms']['vsphere']['server']} has no {WRONG_NAMES[setting]} 'nope'"
        in printed
    )
    assert "nope' not found" in printed, "vCenter's own words are the cause"
    assert "write the name as the vSphere Client shows it" in printed


def test_everything_that_is_wrong_is_reported_at_once(looking: Project) -> None:
    looking.set("new.management.0.vsphere", {"folder": "nofolder", "datastore": "nostore"})
    looking.set("new.management.1.disk", 4)
    try:
        printed = refused(looking, {"network": "nonet"})
    finally:
        looking.set("new.management.0.vsphere", {})
        looking.set("new.management.1.disk", 8)
    assert "newms1.vsphere.folder: vCenter" in printed
    assert "newms1.vsphere.datastore: vCenter" in printed
    assert printed.count("platforms.vsphere.network: vCenter") >= 1
    only_disk = looking
    only_disk.set("new.management.1.disk", 4)
    printed = refused(only_disk, {})
    only_disk.set("new.management.1.disk", 8)
    assert "newms2: disk 4 GiB is smaller than the template's 8 GiB" in printed
    assert "set its disk to at least 8" in printed


def test_a_vcenter_that_is_down(looking: Project) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        printed = refused(looking, {"server": f"127.0.0.1:{closed.getsockname()[1]}"})
    assert "can't be reached" in printed
    assert "nothing has been changed" in printed


def test_a_certificate_nobody_vouches_for_is_refused_and_a_known_one_is_not(
    looking: Project, shared_simulator: Simulator, tmp_path: Path
) -> None:
    # Also where the environment tries to switch the check off.
    printed = refused(looking, {"allowUnverifiedTls": False}, VSPHERE_ALLOW_UNVERIFIED_SSL="true")
    assert "shows a certificate that can't be verified" in printed
    host, port = shared_simulator.address.split(":")
    authority = tmp_path / "ca.pem"
    authority.write_text(ssl.get_server_certificate((host, int(port))))
    looking.set("platforms.vsphere.allowUnverifiedTls", False)
    try:
        looking.preview(SSL_CERT_FILE=str(authority))
    finally:
        looking.set("platforms.vsphere.allowUnverifiedTls", True)


def test_a_wrong_and_a_missing_password(looking: Project) -> None:
    looking.pulumi("config", "set", "--secret", "vspherePassword", "wrong")
    printed = refused(looking, {})
    assert "refuses to log user in" in printed
    assert "wrong" not in printed
    looking.pulumi("config", "rm", "vspherePassword")
    assert "the secret vspherePassword is missing" in refused(looking, {})
    looking.pulumi("config", "set", "--secret", "vspherePassword", "pass")


def test_a_name_that_is_taken(tmp_path: Path, simulator: Simulator, project: Project) -> None:
    project.up()
    taken = simulator.client().find(f"/DC0/vm/{FOLDER}/newdb1")
    other = make_project(tmp_path / "other", simulator.address, "second")
    printed = other.up(ok=False)
    for name in ("newdb1", "newdb2", "newms1", "newms2"):
        assert f"has something called {name} in folder {FOLDER} already" in printed
    assert "rename or remove what is there" in printed
    assert simulator.client().find(f"/DC0/vm/{FOLDER}/newdb1") == taken
    other.pulumi("destroy", "--yes", "--skip-preview")
    assert simulator.client().find(f"/DC0/vm/{FOLDER}/newdb1") == taken, "what was there before is not the second stack's to delete"
    project.unchanged()
