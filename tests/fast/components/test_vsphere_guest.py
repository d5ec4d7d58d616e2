"""What a vSphere machine is handed at its first boot, read as cloud-init's VMware data source reads it; and vCenter's errors in words."""

from __future__ import annotations

import base64
import gzip
import re
from typing import Any

import pytest
import yaml

from parallel_build.components.machines.vsphere_errors import translate
from parallel_build.components.machines.vsphere_guest import guestinfo, mac_address
from parallel_build.components.machines.vsphere_objects import explain
from parallel_build.configuration import VspherePlatform
from parallel_build.errors import ConfigurationError, ConnectionFailed
from parallel_build.machines.data_disk import SCRIPT, data_disk_script
from parallel_build.machines.provisioning import SCRIPT as PROVISION
from parallel_build.machines.provisioning import Provisioning
from parallel_build.secret import Secret

MACHINE = Provisioning(
    hostname="newdb1",
    address="192.0.2.31",
    host_key_private=Secret("-----BEGIN KEY-----\nx\n-----END KEY-----"),
    host_key_public="ssh-ed25519 AAAA",
    authorized_keys=("ssh-ed25519 BBBB",),
    gateway="192.0.2.1",
    dns=("192.0.2.53",),
)
SETTINGS = VspherePlatform(
    server="vcenter.example",
    user="pulumi@vsphere.local",
    datacenter="dc",
    cluster="c",
    datastore="fast",
    network="n",
    template="t",
    folder="a/b",
)


def documents(data_mount: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata and user data, decoded by the encodings that are named next to them."""
    found = guestinfo(MACHINE, data_mount)
    assert (found["guestinfo.metadata.encoding"], found["guestinfo.userdata.encoding"]) == ("base64", "gzip+base64")
    metadata = yaml.safe_load(base64.b64decode(found["guestinfo.metadata"]))
    userdata = gzip.decompress(base64.b64decode(found["guestinfo.userdata"])).decode()
    assert userdata.startswith("#cloud-config\n")
    return metadata, yaml.safe_load(userdata)


def test_the_network_finds_its_card_by_the_static_mac() -> None:
    metadata, userdata = documents()
    card = metadata["network"]["ethernets"]["eth0"]
    assert card["match"] == {"macaddress": mac_address("newdb1", "192.0.2.31")}
    assert card["addresses"] == ["192.0.2.31/24"]
    assert card["routes"] == [{"to": "0.0.0.0/0", "via": "192.0.2.1"}]
    assert metadata["local-hostname"] == "newdb1"
    assert metadata["cleanup-guestinfo"] == ["userdata", "vendordata"]
    assert userdata["ssh_keys"]["ed25519_public"] == "ssh-ed25519 AAAA"


def test_the_documents_are_the_same_every_time() -> None:
    assert guestinfo(MACHINE, None) == guestinfo(MACHINE, None)


def test_static_macs_are_in_the_range_that_vcenter_takes() -> None:
    found = {mac_address(f"m{number}", f"192.0.2.{number}") for number in range(250)}
    assert len(found) == 250
    assert all(re.fullmatch(r"00:50:56:[0-3][0-9a-f]:[0-9a-f]{2}:[0-9a-f]{2}", mac) for mac in found)


def test_a_data_disk_is_mounted_before_any_package_comes() -> None:
    _, userdata = documents("/var/lib/mysql")
    files = {file["path"]: file for file in userdata["write_files"]}
    assert files[SCRIPT]["permissions"] == "0755"
    assert files[SCRIPT]["content"] == data_disk_script("/var/lib/mysql")
    lines = files[PROVISION]["content"].splitlines()
    assert lines.index(SCRIPT) < min(number for number, line in enumerate(lines) if line.startswith(("touch", "for package"))) + 1
    assert SCRIPT not in documents()[1]["write_files"]


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        ("error cloning virtual machine: *types.DuplicateName", "something called newdb1 in folder a/b already"),
        ("The name 'newdb1' already exists.", "something called newdb1 in folder a/b already"),
        ("timeout waiting for an available IP address", "reported no address within 10 minutes"),
        ("ServerFaultCode: Permission to perform this operation was denied.", "pulumi@vsphere.local may not create newdb1"),
        ("There is insufficient disk space on datastore 'fast'", "datastore of newdb1 (fast) has not enough free space"),
        ("The host does not have sufficient resources: insufficient memory", "no host has what newdb1 asks for"),
        ("virtual machine with UUID 42 not found", "newdb1 is not in vCenter any more"),
        ("template has no snapshots", "newdb1 can't be a linked clone"),
        ("something nobody has seen before", "vCenter vcenter.example could not create newdb1"),
    ],
)
def test_vcenters_errors_in_the_operators_words(words: str, fact: str) -> None:
    error = translate("newdb1", SETTINGS, "create", words)
    assert fact in error.fact
    assert words in error.cause
    assert error.remedy


@pytest.mark.parametrize(
    ("words", "kind", "fact"),
    [
        ("dial tcp: lookup vcenter.example: no such host", ConnectionFailed, "can't be reached"),
        ("x509: certificate signed by unknown authority", ConnectionFailed, "certificate that can't be verified"),
        ("ServerFaultCode: Cannot complete login due to an incorrect user name or password.", ConfigurationError, "refuses to log"),
        ("NoPermission", ConfigurationError, "may not see"),
    ],
)
def test_what_is_vcenters_as_a_whole(words: str, kind: type[Exception], fact: str) -> None:
    error = explain(Exception(words), SETTINGS)
    assert isinstance(error, kind)
    assert fact in str(error)
    assert explain(Exception("datastore 'x' not found"), SETTINGS) is None
