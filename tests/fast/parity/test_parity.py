"""Two clouds' facts side by side: what differs, how it is ranked, and what is shown."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, cast

import pytest

from parallel_build import parity
from parallel_build.cli import parity as command
from parallel_build.configuration import load
from parallel_build.errors import ConfigurationError
from parallel_build.parity.compare import Rank
from parallel_build.parity.facts import COUNTS, FORM, KINDS, read_cloud
from parallel_build.remote.sql import Refused, Session
from parallel_build.steps.parity import Parity
from tests.fast.sites import values

MACHINE = {
    "name": "oldms1", "os": "Ubuntu", "release": "22.04", "patch": "", "kernel": "5.15.0-91", "arch": "x86_64", "processor": "Xeon",
    "java": "17.0.9", "packages": {"cloudstack-management": "4.20.3.0"}, "libraries": ["cloudstack.jar"],
}  # fmt: skip
LAB: dict[str, Any] = {
    "form": FORM,
    "stack": "lab",
    "time": "2026-01-01T00:00:00+00:00",
    "version": "4.20.3.0",
    "target": "4.22.1.0",
    "machines": {"management": [MACHINE], "hypervisor": [{**MACHINE, "name": "kvm1", "packages": {"qemu-kvm": "6.2"}, "libraries": []}]},
    "database": {"family": "mysql", "version": "8.0.36", "variables": {"sql_mode": "A,B", "lower_case_table_names": "0"}},
    "counts": {"zones": 1, "hosts": 2, "management servers": 2, "virtual machines": 40, "megabytes of databases": 900},
    "kinds": {
        "hypervisors": ["KVM"],
        "primary storage": ["NetworkFilesystem, cluster, DefaultPrimary"],
        "guest networks": ["Isolated, Vlan"],
    },
    "settings": {"router.version.check": "false", "host": "10.0.0.1", "quota.enable.service": "true"},
    "problems": [],
}


def real(change: dict[str, Any]) -> dict[str, Any]:
    """The lab's facts with dotted keys changed: `kinds.hypervisors`."""
    found = copy.deepcopy(LAB)
    found["stack"] = "prod"
    for key, value in change.items():
        *way, last = key.split("/")
        place: Any = found
        for part in way:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    return found


def test_a_cloud_is_like_itself() -> None:
    assert not parity.compare(LAB, real({}))
    assert "0 high, 0 medium, 0 low" in parity.as_text(LAB, real({}), parity.compare(LAB, LAB))


@pytest.mark.parametrize(
    ("change", "rank", "area", "key"),
    [
        ({"version": "4.19.1.0"}, "high", "CloudStack", "original"),
        ({"target": "4.22.2.0"}, "high", "CloudStack", "target"),
        ({"database/family": "mariadb"}, "high", "original database", "family"),
        ({"database/version": "8.4.1"}, "medium", "original database", "version"),
        ({"database/version": "8.0.40"}, "low", "original database", "version"),
        ({"database/variables/sql_mode": "A"}, "medium", "original database", "sql_mode"),
        ({"kinds/hypervisors": ["KVM", "VMware"]}, "high", "hypervisors", "VMware"),
        ({"kinds/hypervisors": []}, "low", "hypervisors", "KVM"),
        ({"kinds/primary storage": ["RBD, zone, DefaultPrimary"]}, "medium", "primary storage", "RBD, zone, DefaultPrimary"),
        ({"kinds/guest networks": ["Isolated, Vlan", "L2, Vlan"]}, "medium", "guest networks", "L2, Vlan"),
        ({"machines/management/0/release": "20.04"}, "medium", "management", "release"),
        ({"machines/management/0/kernel": "5.15.0-101"}, "low", "management", "kernel"),
        ({"machines/management/0/java": "11.0.2"}, "medium", "management", "java"),
        ({"machines/management/0/java": "17.0.12"}, "low", "management", "java"),
        ({"machines/management/0/libraries": ["cloudstack.jar", "cloud-plugin-mill.jar"]}, "high", "management", "library cloud-plugin-mill.jar"),
        ({"machines/management/0/packages": {"cloudstack-management": "4.20.2.0"}}, "medium", "management", "package cloudstack-management"),
        ({"machines/hypervisor/0/packages": {"qemu-kvm": "8.2"}}, "medium", "hypervisor", "package qemu-kvm"),
        ({"machines/hypervisor/0/processor": "EPYC"}, "low", "hypervisor", "processor"),
        ({"counts/hosts": 3}, "low", "counts", "hosts"),
        ({"counts/zones": 3}, "medium", "counts", "zones"),
        ({"counts/virtual machines": 4000}, "medium", "counts", "virtual machines"),
        ({"counts/megabytes of databases": 9000}, "medium", "counts", "megabytes of databases"),
        ({"settings/router.version.check": "true"}, "medium", "settings", "router.version.check"),
        ({"settings/quota.enable.service": "false"}, "low", "settings", "quota.enable.service"),
    ],
)  # fmt: skip
def test_differences_are_ranked(change: dict[str, Any], rank: str, area: str, key: str) -> None:
    found = {(each.severity.value, each.words.area, each.words.key) for each in parity.compare(LAB, real(change))}
    assert (rank, area, key) in found
    assert all(each.cause for each in parity.compare(LAB, real(change)))


@pytest.mark.parametrize(("one", "other", "shown"), [("", "firewalld", [""]), ("firewalld", "firewalld", []), (None, "firewalld", [])])
def test_a_server_without_a_firewall_is_not_one_that_was_never_asked(one: str | None, other: str, shown: list[str]) -> None:
    left, right = (
        real({} if value is None else {"machines/management/0/firewall": value, "machines/management/0/confinement": ""})
        for value in (one, other)
    )
    found = [each for each in parity.compare(left, right) if each.words.area == "management"]
    assert [each.words.key for each in found] == ["firewall"] * len(shown)
    assert [each.words.rehearsed for each in found] == shown


class Schema:
    """Stands for a session to a database that refuses what contains one of some words, by the server's numbers."""

    def __init__(self, refused: dict[str, int]) -> None:
        self.refused = refused

    def rows(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        for words, number in self.refused.items():
            if words in statement:
                raise Refused(f"olddb1: the database server refused: {statement}", f"({number}, 'about {words}')", "repair it", number)
        return [{"kind": "x86_64", "name": "workers", "value": "7"}]

    def value(self, statement: str, values: Any = None) -> Any:
        return 3 if self.rows(statement) else None


def test_what_is_refused_is_named_and_left_out() -> None:
    problems: list[str] = []
    found = read_cloud(cast(Session, Schema({})), problems)
    assert problems == [] and set(found["kinds"]) == set(KINDS) and set(found["counts"]) == set(COUNTS)
    refusals = {"DISTINCT arch": 1054, "cloud.vpc": 1146, "cloud.ntwk_service_map": 1969, "cloud.configuration": 1142}
    less = read_cloud(cast(Session, Schema(refusals)), problems)
    assert set(KINDS) - set(less["kinds"]) == {"architectures", "network providers"}
    assert set(COUNTS) - set(less["counts"]) == {"VPCs"} and "settings" not in less and less["version"] == "3"
    assert problems == [
        "number of VPCs: the schema of this version does not have it (1146, 'about cloud.vpc')",
        "architectures: the schema of this version does not have it (1054, 'about DISTINCT arch')",
        "network providers: refused (1969, 'about cloud.ntwk_service_map')",
        "changed settings: refused (1142, 'about cloud.configuration')",
    ]
    servers = {name: value for name, value in LAB.items() if name != "settings"}
    one, other = ({**servers, **facts, "version": "", "problems": reported} for facts, reported in ((found, []), (less, problems)))
    assert not parity.compare(one, other) and not parity.compare(other, one), "what only one side knows is no difference"
    assert (
        "not read: architectures: the schema" in parity.as_text(one, other, parity.compare(one, one))
        and parity.as_document(one, other, parity.compare(one, one))["notRead"] == problems
    )


def test_settings_that_name_places_are_not_compared() -> None:
    assert not parity.compare(LAB, real({"settings/host": "192.0.2.9", "settings/endpoint.url": "http://192.0.2.9/"}))


def test_the_worst_comes_first_and_the_threshold_counts() -> None:
    differences = parity.compare(LAB, real({"counts/hosts": 3, "version": "4.19.1.0", "database/version": "8.4.1"}))
    assert [each.severity for each in differences] == [Rank.HIGH, Rank.MEDIUM, Rank.LOW]
    assert [len(differences.beyond(rank)) for rank in Rank] == [1, 2, 3]
    text = parity.as_text(LAB, real({}), differences)
    assert text.index("4.19.1.0") < text.index("8.4.1") and "another way through the versions" in text
    assert parity.as_document(LAB, real({}), differences)["summary"] == {"high": 1, "medium": 1, "low": 1}


def test_the_command_compares_files_and_its_exit_code_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    one, other = tmp_path / "lab.json", tmp_path / "prod.json"
    one.write_text(json.dumps(LAB))
    other.write_text(json.dumps(real({"database/version": "8.4.1"})))
    parser = argparse.ArgumentParser()
    parser.add_argument("--config-file", default=None)
    command.arguments(parser)
    assert command.run(parser.parse_args([str(one), str(one)])) == 0
    assert command.run(parser.parse_args([str(one), str(other)])) == 3
    assert "8.4.1" in capsys.readouterr().out
    assert command.run(parser.parse_args([str(one), str(other), "--threshold", "high"])) == 0
    capsys.readouterr()
    assert command.run(parser.parse_args([str(one), str(other), "--json"])) == 3
    assert json.loads(capsys.readouterr().out)["differences"][0]["key"] == "version"


def test_what_is_no_file_of_facts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no file .*missing\.json"):
        parity.load(str(tmp_path / "missing.json"))
    for content in ("{", "[]", '{"form": 0}'):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(ConfigurationError, match=r"bad\.json"):
            parity.load(str(tmp_path / "bad.json"))


def test_the_step_needs_something_to_compare_with() -> None:
    plan = Parity().plan(load(values(parity={"against": "lab.json", "failAt": "never"}), "test"))
    assert "lab.json" in plan[0] and "nothing fails" in plan[0]
    with pytest.raises(ConfigurationError, match=r"parity\.against"):
        Parity().plan(load(values(), "test"))
