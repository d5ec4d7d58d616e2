"""Whose a package is, by apt's history, and whose a file, by the scripts of packages: pure rules."""

from __future__ import annotations

import pytest

from parallel_build.machines.existing.script_files import written
from parallel_build.remote.transactions import MARK, parse_history

HISTORY = f"""
Start-Date: 2026-01-02  10:00:00
Commandline: apt-get -o DPkg::Lock::Timeout=300 -o {MARK} -y -q install cloudstack-management=4.22.1.0
Install: gawk:amd64 (1:5.2.1-2, automatic), libmpfr6:amd64 (4.2.0-1, automatic), cloudstack-management:amd64 (4.22.1.0), their-tool:amd64 (1.0)
End-Date: 2026-01-02  10:01:00

Start-Date: 2026-01-01  09:00:00
Commandline: apt-get install lsof
Requested-By: op (1000)
Install: lsof:amd64 (4.95.0-1), libmpfr6:amd64 (4.2.0-1, automatic)
End-Date: 2026-01-01  09:00:10

Start-Date: 2026-01-03  09:00:00
Commandline: apt-get remove their-tool
Remove: their-tool:amd64 (1.0)
End-Date: 2026-01-03  09:00:10

Start-Date: 2026-01-04  09:00:00
Commandline: apt-get install their-tool
Install: their-tool:amd64 (1.0)

Start-Date: 2026-01-05  06:00:00
Commandline: /usr/bin/unattended-upgrade
Upgrade: openssl:amd64 (3.0.1, 3.0.2)
"""


def test_the_last_installation_of_a_package_says_whose_it_is() -> None:
    found = parse_history(HISTORY)
    assert found == {"gawk": True, "libmpfr6": True, "cloudstack-management": True, "lsof": False, "their-tool": False}
    assert parse_history("") == {}


NEW = "/usr/lib/python3/dist-packages"


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        (f"{NEW}/cloudutils", True),  # `cp -R cloudutils`
        (f"{NEW}/cloudutils/syscfg.py", True),  # in a folder that a script names
        (f"{NEW}/cloud_utils.py", True),
        ("/etc/somebody.conf", False),  # somebody's, at the same moment
        ("/opt/theirs", False),
        ("/etc/copied.conf", True),  # of a name that our packages brought
        ("/usr/bin/cloud-tool", False),  # a package owns it: its purge takes it
        ("/etc/old.conf", False),  # it was there before
        ("/var/lib/dpkg/info/cloud_utils.py", False),  # dpkg's own
    ],
)
def test_a_file_is_ours_when_a_script_of_ours_names_it(path: str, ours: bool) -> None:
    appeared = [
        f"{NEW}/cloudutils", f"{NEW}/cloudutils/syscfg.py", f"{NEW}/cloud_utils.py", "/etc/somebody.conf", "/opt/theirs", "/etc/copied.conf",
        "/usr/bin/cloud-tool", "/etc/old.conf", "/var/lib/dpkg/info/cloud_utils.py",
    ]  # fmt: skip
    words = {"cp", "cloudutils", "cloud_utils.py", "copied.conf", "cloud-tool", "old.conf"}
    assert (path in written(appeared, {"/etc/old.conf"}, {"/usr/bin/cloud-tool"}, words)) is ours
