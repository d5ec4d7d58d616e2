"""What tests of whole stacks on the shape of Enterprise Linux share."""

from __future__ import annotations

from tests.containers.conftest import LabRunner

OLD, NEW = "4.20.3.0", "4.22.1.0"
ID = "sed -n 's/^ID=//p' /etc/os-release"
VERSION = "rpm -q --qf '%{VERSION} ' cloudstack-agent cloudstack-common"


def agents(lab: LabRunner) -> set[str]:
    """Versions of what is installed on the hosts."""
    return {lab.shell(host, VERSION).strip() for host in ("kvm1", "kvm2")}


def assert_shape(lab: LabRunner, *machines: str) -> None:
    """They are what they are taken for."""
    for machine in machines:
        assert lab.shell(machine, ID).strip().strip('"') == "el-shape"
        assert not lab.shell(machine, "command -v apt-get dpkg-query || true").strip()
