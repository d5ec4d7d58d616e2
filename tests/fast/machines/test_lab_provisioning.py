"""What a machine is given: cloud-init's documents and a container's files say the same."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
import yaml

from parallel_build.errors import ConfigurationError
from parallel_build.machines.provisioning import DONE, SCRIPT, TIME_SOURCES, File, Provisioning, mac_address
from parallel_build.secret import Secret

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----"


@pytest.fixture
def given() -> Provisioning:
    return Provisioning(
        hostname="newdb1",
        address="10.91.0.31",
        host_key_private=Secret(PRIVATE),
        host_key_public="ssh-ed25519 AAAA newdb1",
        authorized_keys=("ssh-ed25519 BBBB operator",),
        gateway="10.91.0.1",
        dns=("10.91.0.2",),
        hosts={"newdb2": "10.91.0.32", "newdb1": "10.91.0.31"},
        files=(File("/etc/mysql/x.cnf", "[mysqld]\n"), File("/etc/mysql/key.pem", Secret("hidden"), 0o600, "mysql:mysql")),
        packages=("mariadb-server", "zstd"),
        enabled_units=("mariadb.service",),
        masked_units=("cloudstack-management.service",),
    )


def test_cloud_config_holds_identity_keys_and_files(given: Provisioning) -> None:
    text = given.cloud_config()
    assert text.startswith("#cloud-config\n")
    document = yaml.safe_load(text)
    assert (document["hostname"], document["fqdn"]) == ("newdb1", "newdb1.cloud.internal")
    assert document["ssh_keys"]["ed25519_private"] == PRIVATE + "\n"
    assert document["ssh_authorized_keys"] == ["ssh-ed25519 BBBB operator"]
    assert document["ssh_pwauth"] is False
    assert document["disable_root"] is False
    files = {entry["path"]: entry for entry in document["write_files"]}
    assert files["/etc/mysql/key.pem"]["content"] == "hidden"
    assert files["/etc/mysql/key.pem"]["permissions"] == "0600"
    assert {entry["owner"] for entry in files.values()} == {"root:root"}  # the packages' accounts come later
    assert document["bootcmd"][0][-2:] == ["--now", "cloudstack-management.service"]


def test_the_name_never_stands_for_a_loopback_address(given: Provisioning) -> None:
    lines = [line.split() for line in given.etc_hosts().splitlines()]
    assert ["10.91.0.31", "newdb1.cloud.internal", "newdb1"] in lines
    assert ["10.91.0.32", "newdb2.cloud.internal", "newdb2"] in lines
    assert [line[0] for line in lines if "newdb1" in line] == ["10.91.0.31"]


def test_network_config_finds_the_card_by_its_mac(given: Provisioning) -> None:
    card = yaml.safe_load(given.network_config())["ethernets"]["eth0"]
    assert card["match"] == {"macaddress": given.mac}
    assert card["set-name"] == "eth0"
    assert card["addresses"] == ["10.91.0.31/24"]
    assert card["routes"] == [{"to": "0.0.0.0/0", "via": "10.91.0.1"}]


def test_no_gateway_means_no_route(given: Provisioning) -> None:
    card = yaml.safe_load(replace(given, gateway=None, dns=()).network_config())["ethernets"]["eth0"]
    assert "routes" not in card
    assert "nameservers" not in card


def test_other_texts_are_no_new_instance_another_key_is(given: Provisioning) -> None:
    instance = yaml.safe_load(given.meta_data())["instance-id"]
    assert yaml.safe_load(replace(given, files=()).meta_data())["instance-id"] == instance
    assert yaml.safe_load(replace(given, host_key_public="ssh-ed25519 CCCC").meta_data())["instance-id"] != instance


def test_a_container_gets_the_same_files(given: Provisioning) -> None:
    layer = {file.path: file for file in given.layer()}
    for entry in yaml.safe_load(given.cloud_config())["write_files"]:
        assert layer[entry["path"]].text == entry["content"]
    assert layer["/etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert layer["/etc/hostname"].text == "newdb1\n"
    assert len(layer["/etc/machine-id"].text.strip()) == 32


def test_machines_differ_in_mac_and_machine_id(given: Provisioning) -> None:
    other = replace(given, hostname="newdb2", address="10.91.0.32", host_key_public="ssh-ed25519 DDDD")
    ids = [{file.path: file.text for file in one.layer()}["/etc/machine-id"] for one in (given, other)]
    assert ids[0] != ids[1]
    assert given.mac != other.mac
    assert given.mac == mac_address("newdb1", "10.91.0.31")
    assert given.mac.startswith("52:54:00:")


def test_the_script_is_shell_and_in_order(given: Provisioning) -> None:
    script = given.script()
    subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=10)
    order = ["systemctl mask --now", "apt-get", "chown mysql:mysql /etc/mysql/key.pem", "systemctl enable mariadb.service", DONE]
    places = [script.rindex(words) for words in order]
    assert places == sorted(places)


def test_the_script_does_nothing_twice(given: Provisioning) -> None:
    assert f"test -e {DONE} && exit 0" in given.script()


def test_no_packages_no_apt(given: Provisioning) -> None:
    assert "apt-get" not in replace(given, packages=()).script()


def test_the_clock_follows_the_time_servers_before_any_service_starts(given: Provisioning) -> None:
    timed = replace(given, time_servers=("192.0.2.3", "ntp.example.com"))
    files = {entry["path"]: entry["content"] for entry in yaml.safe_load(timed.cloud_config())["write_files"]}
    assert files[TIME_SOURCES].splitlines() == ["server 192.0.2.3 iburst", "server ntp.example.com iburst"]
    script = timed.script()
    subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=10)
    order = [
        "for package in mariadb-server zstd chrony",
        "sourcedir /etc/chrony/sources.d",
        "unit=chrony.service",
        "systemctl restart $unit",
        "chronyc -n waitsync",
        "exit 1; }",
        "enable mariadb.service",
    ]
    places = [script.index(words) for words in order]
    assert places == sorted(places)


def test_without_time_servers_the_image_keeps_its_own_time_service(given: Provisioning) -> None:
    assert "chrony" not in given.script()
    assert TIME_SOURCES not in given.cloud_config()


def test_secrets_do_not_show(given: Provisioning) -> None:
    assert "hidden" not in repr(given)
    assert "abc" not in repr(given)


@pytest.mark.parametrize("path", ["etc/x", "/etc/../../x"])
def test_a_file_stays_on_the_machine(path: str) -> None:
    with pytest.raises(ConfigurationError):
        File(path, "")


@pytest.mark.parametrize("name", ["a.b", "A", "", "-a"])
def test_a_bad_name_is_refused(given: Provisioning, name: str) -> None:
    with pytest.raises(ConfigurationError, match="host name"):
        replace(given, hostname=name)


def test_a_bad_address_is_refused(given: Provisioning) -> None:
    with pytest.raises(ConfigurationError, match="can't be given"):
        replace(given, address="10.91.0.300")


def test_the_script_is_among_the_files(given: Provisioning) -> None:
    assert {file.path: file.mode for file in given.layer()}[SCRIPT] == 0o755
