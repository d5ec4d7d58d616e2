"""What runs next to the window's chain, as a whole stack: the agents' wave with real packages on both KVM hosts, and the cold copy of the stopped original.

One host can't be done at first, is done later, and both have their old agent again after the rollback. A server of its own starts on the copy.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from parallel_build.operations.agent_wave import FOLDER
from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.whole_stack import evidence, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

OLD, NEW = "4.20.3.0", "4.22.1.0"
DUMPS = "/srv/dumps"
VERSION = "dpkg-query -W -f '${Version} ' cloudstack-agent cloudstack-common"
HELD = 'SELECT COUNT(*) FROM cloud.data_center_details WHERE name IN ("vm.ha.enabled", "resourceHAEnabled")'
ASIDE = 'SELECT GROUP_CONCAT(name) FROM cloud.host WHERE type = "Routing" AND resource_state = "Disabled" AND removed IS NULL'
SOURCES = "find /etc/apt -type f | sort | xargs cat | cksum; ls /var/lib/apt/lists | cksum"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own whose stack brings agents to the new version by the wave."""
    with own_lab("agt", "--agents") as runner:
        yield runner


def versions(lab: LabRunner) -> dict[str, str]:
    """What is installed on each host: the agent's version and that of what it shares."""
    return {host: lab.shell(host, VERSION).strip() for host in ("kvm1", "kvm2")}


def assert_cold_copy(lab: LabRunner) -> None:
    """The file is whole, holds the record's rows, and the throw-away server has left nothing."""
    copied, note = evidence(lab, "DatabaseTransfer")["result"], evidence(lab, "DumpFile")["result"]
    tell(f"cold copy: {note}")
    assert note["rows"] == note["expected"] == copied["rows"] > 10000 and note["tables"] == copied["tables"]
    assert lab.shell("newdb2", f"sha256sum {note['file']}").split()[0] == note["sha256"]
    assert lab.shell("newdb2", f"ls -A {DUMPS} | wc -l").strip() == "2"


def test_prepared_has_the_files_and_nothing_installed(lab: LabRunner) -> None:
    assert set(versions(lab).values()) == {f"{OLD} {OLD}"}
    for host in ("kvm1", "kvm2"):
        files = lab.shell(host, f"ls {FOLDER}/new {FOLDER}/old")
        assert f"cloudstack-agent_{NEW}_all.deb" in files and f"cloudstack-agent_{OLD}_all.deb" in files, files
    page = lab.run("tool", "forecast", "lab").stdout
    tell(page)
    assert "2 hosts in 2 rounds (1 as a canary, then 4 at a time); no figure" in page and "networks with a running router" in page
    sources = lab.shell("kvm1", SOURCES)
    again = lab.run("pulumi", "up", "--yes", "--skip-preview", "--expect-no-changes")
    assert "unchanged" in again.stdout and lab.shell("kvm1", SOURCES) == sources


def test_a_host_that_can_not_be_done_keeps_nobody_waiting_and_is_done_later(lab: LabRunner) -> None:
    for key, value in (("server.name", "newdb2"), ("server.address", "10.91.0.32"), ("folder", DUMPS), ("readBack", "true")):
        lab.run("pulumi", "config", "set", "--path", f"window.dumpFile.{key}", value)
    before = keep_reading(lab)
    lab.shell("kvm2", f"mv {FOLDER}/new {FOLDER}/away")
    tell("switch; kvm2 has lost its package files")
    shown = lab.run("switch").stdout
    wave, transfer = evidence(lab, "Agents"), evidence(lab, "DatabaseTransfer")
    tell(f"agents {wave['timing']}, {wave['result']}; transfer {transfer['timing']}")
    assert wave["timing"]["started"] <= transfer["timing"]["ended"], "it runs next to the transfer"
    assert wave["timing"]["ended"] <= evidence(lab, "Hypervisors")["timing"]["started"]
    assert wave["result"]["done"] == 1 and list(wave["result"]["not renewed"]) == ["kvm2"]
    assert "keep their old agent and take no new VMs" in shown
    assert versions(lab) == {"kvm1": f"{NEW} {NEW}", "kvm2": f"{OLD} {OLD}"}
    assert lab.sql("newdb1", ASIDE) == "kvm2" and lab.sql("newdb1", HELD) == "0", "high availability is as it was found"
    assert_cold_copy(lab)
    tell("kvm2 has its files again, up")
    lab.shell("kvm2", f"mv {FOLDER}/away {FOLDER}/new")
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    assert versions(lab) == {"kvm1": f"{NEW} {NEW}", "kvm2": f"{NEW} {NEW}"}
    assert lab.sql("newdb1", ASIDE) == "NULL" and lab.sql("newdb1", HELD) == "0"
    assert lab.status()["serving"] == "new"
    tell("back; the old agents come after users are in")
    lab.run("back")
    assert_original_serves(lab, before)
    assert set(versions(lab).values()) == {f"{OLD} {OLD}"}
    assert lab.sql("olddb1", HELD) == "0"
    assert lab.shell("newdb2", f"ls {DUMPS} | wc -l").strip() == "2", "the cold copy stays"


def test_destroy_leaves_nothing_on_the_hosts(lab: LabRunner) -> None:
    lab.run("destroy")
    assert lab.shell("kvm1", f"ls {FOLDER} 2>/dev/null || true") == ""
