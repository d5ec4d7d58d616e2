"""The stand-in's 4.23, whose set-up downloads templates and whose API keys have a table of their own: switch, prove, go back, in containers."""

from __future__ import annotations

import pytest

from tests.containers.conftest import tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.whole_stack import own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]


def test_switch_to_4_23_and_back() -> None:
    with own_lab("newest", "--target", "4.23.0.0") as lab:
        before = keep_reading(lab)
        tell("switch")
        lab.run("switch")
        assert "serving: new" in lab.run("verify", "new").stdout
        log = lab.shell("newms1", "grep ^DEBUG:root:download: /var/log/cloudstack/management/setupManagement.log || true")
        assert "http://127.0.0.1:9/" in log and "http://download" not in log, "nothing was asked of anybody else"
        assert lab.shell("newms1", "ls /usr/share/cloudstack-management/templates/systemvm").split() == ["metadata.ini"]
        assert lab.sql("newdb1", "SELECT COUNT(*) > 0 FROM cloud.api_keypair WHERE removed IS NULL") == "1"
        tell("back")
        lab.run("back")
        assert_original_serves(lab, before)
