"""Phase `prepared` from nothing to done, with a rehearsal, and once more with nothing to do, while users ask the original's API every 100 ms: no call fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from lab.files import Lab
from lab.machines import REHEARSAL
from lab.network import ISOLATED, isolate
from parallel_build.database.copy.account import COPY_USER
from parallel_build.machines.container import machine as container
from parallel_build.machines.local_commands import run
from tests.containers.asking_users import clients, prove_unnoticed
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]

RECORD = "/var/lib/cloudstack-parallel-build/prepared/lab-rehearsal.json"  # on the original's database host
MACHINE = {"name": REHEARSAL.name, "address": REHEARSAL.address, "cpus": "1", "memory": "2048", "disk": "12"}

JAR = """
python3 - <<'END'
import zipfile
with zipfile.ZipFile("/usr/share/cloudstack-management/lib/planted.jar", "w") as jar:
    jar.writestr("META-INF/db/schema-42010to42100.sql",
        "INSERT INTO `cloud`.`guest_os` (id, uuid, category_id, display_name) VALUES (9001, UUID(), 1, 'Debian (64-bit), new');")
END
"""
OWN_ROW = "INSERT INTO cloud.guest_os (id, category_id, uuid, display_name, is_user_defined) VALUES (9001, 1, 'planted', 'Mill OS', 1)"
FIX = """-- reason: Mill OS moves away
-- mends: guest_os 9001
UPDATE guest_os SET id = 19001 WHERE id = 9001 AND is_user_defined = 1;
"""


@pytest.fixture(scope="module")
def rehearsal(lab: LabRunner) -> Iterator[Lab]:
    """The shared lab's stack with a rehearsal in it, which the lab was not brought up with; afterwards it has none again."""
    network = Lab(lab.name)
    isolate(network, REHEARSAL)
    for key, value in MACHINE.items():
        lab.run("pulumi", "config", "set", "--path", f"rehearsal.machine.{key}", value)
    lab.run("pulumi", "config", "set", "--path", "rehearsal.fixes", str(network.folder / "fixes"))
    reason = lab.run("pulumi", "config", "get", "--path", "rehearsal.waived").stdout.strip()
    lab.run("pulumi", "config", "rm", "--path", "rehearsal.waived")
    lab.run("pulumi", "config", "set", "--path", "rehearsal.enabled", "true")
    yield network
    lab.shell("newms1", "rm -f /usr/share/cloudstack-management/lib/planted.jar")
    lab.sql("olddb1", "DELETE FROM cloud.guest_os WHERE id = 9001")
    lab.run("pulumi", "config", "rm", "rehearsal")
    lab.run("pulumi", "config", "set", "--path", "rehearsal.waived", reason)
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    run(["ip", "netns", "exec", network.namespace, "nft", "delete", "table", "bridge", ISOLATED], timeout=30)


def test_prepared_from_nothing_to_done_is_not_noticed_by_a_user(lab: LabRunner, rehearsal: Lab) -> None:
    tell("back to phase built")
    lab.run("pulumi", "config", "set", "phase", "built")
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    lab.run("pulumi", "config", "set", "phase", "prepared")
    lab.shell("newms1", JAR)
    stand = Stand(lab)
    stand.sql(OWN_ROW)
    with clients(stand) as asking:
        began = time.monotonic()
        tell("pulumi up: prepared, with a guest OS row that the target's scripts collide with")
        refused = lab.run("pulumi", "up", "--yes", "--skip-preview", check=False)
        assert refused.returncode != 0, refused.stdout[-3000:]
        for words in (
            "1 findings block",
            "row 9001 of cloud.guest_os is 'Mill OS'",
            f"write {rehearsal.folder}/fixes/NAME.sql",
            "mends: guest_os 9001",
        ):
            assert words in refused.stdout, refused.stdout[-3000:]
        assert "cutover:index:SystemVmTemplate " not in refused.stdout, "nothing has been changed"
        (rehearsal.folder / "fixes").mkdir()
        (rehearsal.folder / "fixes/10-mill.sql").write_text(FIX)
        tell("pulumi up: with a fix that names the row")
        shown = lab.run("pulumi", "up", "--yes", "--skip-preview").stdout
        assert "10-mill.sql is to fix it (Mill OS moves away)" in shown, shown[-6000:]
        for step in ("HealthCheck", "SystemVmTemplate", "Rehearsal"):
            assert f"cutover:index:{step} " in shown
        assert "fix 10-mill.sql changed 1 rows" in shown and "the rehearsal passed" in shown
        tell(f"{time.monotonic() - began:.0f} s; again")
        again = lab.run("pulumi", "up", "--yes", "--skip-preview", "--expect-no-changes").stdout
        assert " unchanged" in again and " created" not in again and " updated" not in again
    prove_unnoticed(asking)
    assert "0 blocks, 1 warns" in (rehearsal.folder / "runs/lab/evidence/health.txt").read_text()
    after = lab.run("tool", "health", "lab").stdout
    assert "0 block, 0 warns" in after.replace("blocks", "block") and "passed with it" in " ".join(after.split()), after


def test_a_rehearsal_that_is_taken_back_leaves_its_record_and_nothing_else(lab: LabRunner, rehearsal: Lab) -> None:
    assert container.exists(rehearsal.new, REHEARSAL.name)
    tell("pulumi up without the rehearsal")
    lab.run("pulumi", "config", "set", "--path", "rehearsal.enabled", "false")
    refused = lab.run("tool", "check", "lab", check=False)
    assert refused.returncode == 1 and "say why the window may open without one: rehearsal.waived: REASON" in " ".join(
        refused.stdout.split()
    )
    lab.run("pulumi", "config", "set", "--path", "rehearsal.waived", "a test")
    refused = lab.run("tool", "check", "lab", check=False)
    assert refused.returncode == 1 and "leaves out what is configured for the copy: 10-mill.sql" in " ".join(refused.stdout.split())
    (rehearsal.folder / "fixes/10-mill.sql").unlink()
    assert "rehearsal." not in lab.run("tool", "check", "lab", check=False).stdout.replace("rehearsal.waived: a test", "")
    shown = lab.run("pulumi", "up", "--yes", "--skip-preview").stdout
    assert "cutover:index:Rehearsal preparation-rehearsal deleted" in shown, shown[-3000:]
    assert not container.exists(rehearsal.new, REHEARSAL.name)
    assert json.loads(lab.shell("olddb1", f"cat {RECORD}"))["facts"]["last"]["passed"]
    assert COPY_USER not in lab.sql("olddb1", "SELECT GROUP_CONCAT(User) FROM mysql.user").split(",")
