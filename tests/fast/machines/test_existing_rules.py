"""One rule, one passing and one failing server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build.configuration import NewMachine
from parallel_build.errors import GuardFailed
from parallel_build.machines.existing import rules
from parallel_build.machines.existing.facts import DATA, ServerFacts, parse
from tests.fast.local_host import LocalHost

FIT = ServerFacts(
    name="new1",
    login="root",
    root=True,
    system="Debian GNU/Linux 12 (bookworm)",
    family="debian",
    handled=True,
    systemd=True,
    processors=8,
    memory=15990,
    size=100 * 1024,
    free=90 * 1024,
    hostname="new1",
    addresses=("127.0.0.1", "192.0.2.31"),
)
DATABASE = rules.Wanted(NewMachine(name="new1", address="192.0.2.31", memory=16384, cpus=8), database=True, management=False, port=3306)
MANAGEMENT = replace(DATABASE, database=False, management=True)

UNFIT: list[tuple[rules.Judge, rules.Wanted, dict[str, Any], str]] = [
    (rules.becomes_root, MANAGEMENT, {"root": False, "login": "op", "problem": "sudo: a password is required"}, "a password is required"),
    (rules.known_family_with_systemd, DATABASE, {"family": "opensuse-leap suse", "system": "openSUSE Leap 15"}, "runs openSUSE Leap 15"),
    (
        rules.known_family_with_systemd,
        DATABASE,
        {"family": "centos rhel", "handled": False, "system": "CentOS 7"},
        "Enterprise Linux 8 to 10",
    ),
    (rules.known_family_with_systemd, DATABASE, {"systemd": False}, "not run by systemd"),
    (rules.packages_are_sound, DATABASE, {"audit": "The following packages are only half configured"}, "only half configured"),
    (rules.has_its_address, DATABASE, {"addresses": ("192.0.2.99",)}, "another server may have answered"),
    (rules.is_large_enough, DATABASE, {"processors": 4}, "4 processors, not 8"),
    (rules.is_large_enough, DATABASE, {"memory": 8000}, "8000 MiB of memory, not 16384"),
    (rules.is_large_enough, DATABASE, {"size": 20 * 1024}, "20 GiB at /var/lib, not 40"),
    (rules.has_space, DATABASE, {"free": 1000}, "1000 MiB free"),
    (rules.has_space, DATABASE, {"free": 3000, "data_size": 2000}, "at least 4048 MiB"),
    (rules.clock_is_right, DATABASE, {"clock": -2.5}, "-2.5 s off"),
    (rules.no_cloudstack, MANAGEMENT, {"cloudstack": ("cloudstack-agent", "/etc/cloudstack")}, "cloudstack-agent, /etc/cloudstack"),
    (rules.no_data, DATABASE, {"database_units": ("mariadb",), "data": 9, "schemas": ("shop",)}, "holds the databases shop"),
    (rules.no_data, DATABASE, {"linked": "/disk/mysql"}, "/var/lib/mysql of new1 is a link to /disk/mysql"),
    (rules.no_data, DATABASE, {"data": 3}, "files in /var/lib/mysql and no database server"),
    (rules.no_data, MANAGEMENT, {"database_units": ("mysql",)}, "falls back to a local one"),
    (rules.ports_are_free, DATABASE, {"ports": (3306,)}, "listens on 3306"),
    (rules.ports_are_free, MANAGEMENT, {"ports": (22, 8080)}, "listens on 8080"),
    (rules.ports_are_free, replace(MANAGEMENT, api_port=9443), {"ports": (22, 9443)}, "listens on 9443"),
]


@pytest.mark.parametrize(("rule", "wanted", "change", "words"), UNFIT)
def test_each_rule_refuses_what_it_is_for(rule: rules.Judge, wanted: rules.Wanted, change: dict[str, Any], words: str) -> None:
    rule(wanted, FIT)
    with pytest.raises(GuardFailed) as refused:
        rule(wanted, replace(FIT, **change))
    assert words in str(refused.value)
    assert refused.value.remedy
    with pytest.raises(GuardFailed):
        rules.check(wanted, replace(FIT, **change))


def test_a_fit_server_holds_every_rule() -> None:
    assert rules.check(DATABASE, FIT) == [rule.name for rule in rules.RULES]
    assert rules.check(MANAGEMENT, FIT) == [rule.name for rule in rules.RULES]


def test_an_empty_database_server_that_listens_already_is_fit() -> None:
    rules.check(DATABASE, replace(FIT, database_units=("mariadb",), data=8, data_size=130, ports=(3306,)))


def test_all_that_is_wrong_is_reported_at_once_and_nothing_is_guessed_without_root() -> None:
    with pytest.raises(GuardFailed) as several:
        rules.check(DATABASE, replace(FIT, clock=9.0, processors=1, cloudstack=("cloudstack-usage",)))
    for words in ("clock of new1", "1 processors", "cloudstack-usage"):
        assert words in str(several.value)
    with pytest.raises(GuardFailed) as one:
        rules.check(DATABASE, ServerFacts("new1", "op", problem="sudo: a password is required"))
    assert "does not become root" in str(one.value)
    assert "runs" not in one.value.fact


def test_every_rule_says_its_rule() -> None:
    assert all((rule.__doc__ or "").startswith("Rule: ") for rule in rules.JUDGES)


def test_facts_are_read_from_the_servers_words() -> None:
    text = (
        "uid\t0\nsystem\tUbuntu 24.04 LTS\nfamily\tubuntu debian\nhandled\tyes\nselinux\tPermissive\naudit\t\nsystemd\tyes\nprocessors\t4\nmemory\t8048576\n"
        "size\t104857600\nfree\t52428800\nhostname\tnew1\nresolved\t127.0.1.1\naddress\t192.0.2.31\naddress\t2001:db8::1\n"
        "cloudstack\t/etc/cloudstack\ndatabase\tmariadb.service\ndatabase\tmariadb.service\nschema\tmysql\nschema\tsys\nschema\tshop\n"
        "data\t12\ndatasize\t2048\nport\t22\nport\t3306\nport\t3306\n"
    )
    facts = parse("new1", "root", text, 0.25)
    assert facts.root and facts.handled and facts.selinux == "Permissive" and facts.systemd and not facts.audit
    assert (facts.processors, facts.memory, facts.size, facts.free) == (4, 7859, 102400, 51200)
    assert facts.addresses == ("192.0.2.31", "2001:db8::1")
    assert (facts.database_units, facts.schemas, facts.data, facts.data_size) == (("mariadb",), ("shop",), 12, 2)
    assert (facts.cloudstack, facts.ports, facts.clock) == (("/etc/cloudstack",), (22, 3306), 0.25)


@pytest.mark.parametrize("linked", [True, False])
def test_databases_are_seen_behind_a_link_and_in_a_servers_own_folder(tmp_path: Path, linked: bool) -> None:
    """A folder that is a link has nothing in it for `find`, and somebody's databases would count as none."""
    usual, disk, own = tmp_path / "mysql", tmp_path / "disk", tmp_path / "own"
    for folder in (disk / "shop", disk / "mysql", own / "billing", own / "lost+found"):
        folder.mkdir(parents=True)
    if linked:
        usual.symlink_to(disk)
    else:
        disk.rename(usual)
    (tmp_path / "my_print_defaults").write_text(f"#!/bin/sh\necho --port=3306; echo --datadir={own}\n")
    (tmp_path / "my_print_defaults").chmod(0o755)
    shown = LocalHost("new1", programs=tmp_path).script(f"{DATA}\ndata {usual}").stdout
    facts = parse("new1", "root", shown, 0.0)
    assert facts.schemas == ("billing", "shop") and facts.data == 2
    assert facts.linked == (str(disk) if linked else "")


def test_a_server_without_a_data_folder_has_none(tmp_path: Path) -> None:
    shown = LocalHost("new1").script(f"{DATA}\ndata {tmp_path}/none").stdout
    assert parse("new1", "root", shown, 0.0).schemas == () and "data" not in shown
