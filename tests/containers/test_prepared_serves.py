"""Phase `prepared` from nothing to done, and once more with nothing to do, while a user asks the original's API every 100 ms: no call fails."""

from __future__ import annotations

import pytest

from tests.containers.asking_users import prepare_while_asked
from tests.containers.conftest import LabRunner
from tests.containers.health_stand import Stand

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]


def test_prepared_from_nothing_to_done_is_not_noticed_by_a_user(lab: LabRunner) -> None:
    stand = Stand(lab)
    prepare_while_asked(lab, stand)
    report = stand.lab.folder / "runs/lab/evidence/health.txt"
    assert "0 blocks, 0 warns" in report.read_text()
