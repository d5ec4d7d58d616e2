"""The stand-in's 4.23, whose set-up downloads templates and whose API keys have a table of their own: switch, prove, go back, in containers."""

from __future__ import annotations

import pytest

from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.whole_stack import own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]


KEYSTORE = "/etc/cloudstack/management/corp-ldap.jks"
OPTIONS = "/etc/default/cloudstack-management"


def carry(lab: LabRunner) -> None:
    """What an operator has in files on the original's server is carried to the new one."""
    lab.shell("oldms1", f"echo a keystore >{KEYSTORE}; chown cloud:cloud {KEYSTORE}; chmod 640 {KEYSTORE}")
    lab.shell("oldms1", f"sed -i 's/^JAVA_OPTS=\"/JAVA_OPTS=\"-Xmx777m /' {OPTIONS}; grep -q Xmx777m {OPTIONS}")
    lab.run("pulumi", "config", "set", "--path", "new.carry.files[0]", KEYSTORE)
    lab.run("pulumi", "config", "set", "--path", "new.carry.jvmOptions[0]", "--", "-Xmx")
    assert "CarriedState" in lab.run("pulumi", "up", "--yes", "--skip-preview").stdout
    assert lab.shell("newms1", f"stat -c '%a %U:%G' {KEYSTORE}; cat {KEYSTORE}").split("\n")[:2] == ["640 cloud:cloud", "a keystore"]
    assert "Xmx777m" in lab.shell("newms1", f"grep ^JAVA_OPTS {OPTIONS}")


def test_switch_to_4_23_with_what_is_carried_and_back() -> None:
    with own_lab("newest", "--target", "4.23.0.0") as lab:
        shipped = lab.shell("newms1", f"cat {OPTIONS}")
        before = keep_reading(lab)
        tell("carry")
        carry(lab)
        tell("switch")
        lab.run("switch")
        assert "serving: new" in lab.run("verify", "new").stdout
        log = lab.shell("newms1", "grep ^DEBUG:root:download: /var/log/cloudstack/management/setupManagement.log || true")
        assert "http://127.0.0.1:9/" in log and "http://download" not in log, "nothing was asked of anybody else"
        assert lab.shell("newms1", "ls /usr/share/cloudstack-management/templates/systemvm").split() == ["metadata.ini"]
        assert lab.shell("newms1", "grep -c parallel-build /etc/cloudstack/management/server.properties || true").strip() == "0"
        assert lab.sql("newdb1", "SELECT COUNT(*) > 0 FROM cloud.api_keypair WHERE removed IS NULL") == "1"
        tell("back")
        lab.run("back")
        assert_original_serves(lab, before)
        tell("nothing is carried any more")
        lab.run("pulumi", "config", "rm", "--path", "new.carry")
        lab.run("pulumi", "up", "--yes", "--skip-preview")
        assert lab.shell("newms1", f"cat {OPTIONS}") == shipped
        assert lab.shell("newms1", f"ls {KEYSTORE}* /var/lib/cloudstack-parallel-build/carried* 2>/dev/null || true").strip() == ""
