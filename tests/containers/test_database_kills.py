"""Transfers killed at random moments: the tool, its worker, a network, either server, a disk that fills up.

After each kill the same command is given again and completes with every row there, or everything is undone; the original's tables, accounts
and rights are as before, rows that its users wrote meanwhile arrived, and nothing of the transfer is left on either side.

`PARALLEL_BUILD_KILLS` is how often each method is killed (a handful in CI, 50 in a full run), `PARALLEL_BUILD_KILL_SEED` the seed of chance.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.compare import compare
from parallel_build.database.copy import account, cleanup, copy
from parallel_build.database.replicate import changed_rows, channel, seed
from parallel_build.errors import ParallelBuildError
from parallel_build.machines.container import machine as container
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import Stand, combination, roots, sql
from tests.containers.database_tool import describe
from tests.containers.database_users import Users

pytestmark = [pytest.mark.databases, pytest.mark.timeout(7200)]
# One family in CI's handful; the others are killed less often, because what differs between them is little.
KILLS = int(os.environ.get("PARALLEL_BUILD_KILLS", "3"))
SEED = int(os.environ.get("PARALLEL_BUILD_KILL_SEED", "7"))
FAMILIES = os.environ.get("PARALLEL_BUILD_KILL_FAMILIES", "mariadb,mysql").split(",")
SHARE = {"mariadb": 1.0, "mysql": 0.34}
SCHEMAS = ["bulk", "users"]
BYTES_PER_SECOND = 3 << 20  # the copy of some 8 MB then lasts long enough to be hit in its middle
ORIGINAL = """
CREATE USER cloud@localhost IDENTIFIED BY 'Lab-Password-1'; GRANT ALL ON *.* TO cloud@localhost;
CREATE DATABASE bulk DEFAULT CHARACTER SET utf8mb3; CREATE DATABASE users DEFAULT CHARACTER SET utf8mb4;
CREATE TABLE users.written (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, number bigint NOT NULL);
USE bulk;
CREATE TABLE event (
  id bigint unsigned NOT NULL AUTO_INCREMENT, uuid varchar(40), type varchar(50) NOT NULL, description varchar(1024) CHARACTER SET utf8mb4 NOT NULL,
  created datetime NOT NULL, amount double, PRIMARY KEY (id), UNIQUE KEY uc_uuid (uuid), KEY i_created (created), KEY i_type (type, created));
INSERT INTO event (uuid, type, description, created, amount)
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT UUID(), ELT(1 + a.i % 3, 'VM.CREATE', 'VM.STOP', 'NET.CREATE'),
  CONCAT('event ', a.i, ' of ', b.i, ' ünï 😀'), '2026-01-01' + INTERVAL a.i * b.i SECOND, a.i / b.i FROM n a, n b WHERE b.i <= 60;
CREATE TABLE host (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(255), last_ping bigint, KEY i_name (name));
INSERT INTO host (name, last_ping) VALUES ('kvm1', 1), ('kvm2', 1);
CREATE DEFINER=cloud@localhost VIEW host_view AS SELECT id, name FROM host;
CREATE DEFINER=cloud@localhost PROCEDURE add_host (IN given varchar(255)) INSERT INTO host (name) VALUES (given);
"""
WRITE = "INSERT INTO users.written (number) VALUES ({n})"
ROWS = 60002
# The new server's data folder on a disk of its own that can be filled up.
SMALL_DISK = """
systemctl stop {unit}
mkdir -p /small && mount -t tmpfs -o size=2g tmpfs /small && cp -a /var/lib/mysql/. /small/ && chown mysql: /small && chmod 755 /small
mount --bind /small /var/lib/mysql
systemctl start {unit}
"""
FILL = 'free=$(df -B1 --output=avail /small | tail -1); [ "$free" -le "$1" ] || fallocate -l $((free - $1)) /small/filler'
# How long each phase lasts here, about: moments to kill at are drawn from it.
PHASES = {"dump": {"copy": 8.0}, "replicate": {"seed": 9.0, "follow": 1.5, "takeover": 0.8}}


@dataclass
class Scene:
    """The machines, and what the original was before."""

    made: Stand
    source: Host
    target: Host
    family: str
    users: Users = field(init=False)

    def __post_init__(self) -> None:
        self.users = Users(self.source, (WRITE,), 0.03, patient=True)


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """An original with some bulk and a writing user, and a new server on a small disk."""
    family = request.param
    if family not in FAMILIES:
        pytest.skip(f"PARALLEL_BUILD_KILL_FAMILIES leaves {family} out")
    if family not in roots():
        pytest.skip(f"no root file system with {family}")
    with combination(family, family) as pair:
        made, source, target = pair.made, pair.source, pair.target
        sql(source, ("SET SESSION cte_max_recursion_depth = 100000;" if family == "mysql" else "") + ORIGINAL)
        # A server counts on from its highest number when it was killed: what a bulk insert had reserved beyond it is gone from here on.
        source.script(f"systemctl restart {family}", timeout=180)
        made.wait(source)
        target.script(SMALL_DISK.format(unit=family), timeout=180)
        made.wait(target)
        found = Scene(made, source, target, family)
        try:
            yield found
        finally:
            found.users.stop()


# -- who is killed, and what heals it -------------------------------------------------------------------------------------------


def _tool(scene: Scene, tool: subprocess.Popen[str], chance: random.Random) -> None:
    tool.send_signal(signal.SIGKILL)


def _worker(scene: Scene, tool: subprocess.Popen[str], chance: random.Random) -> None:
    """The copy's program, or in later phases the reader of the original's log."""
    scene.target.run(["systemctl", "kill", "--signal=KILL", cleanup.UNIT], timeout=30, ok=None)
    scene.target.run(["pkill", "-KILL", "-f", f"{changed_rows.FOLDER}/read.py"], timeout=30, ok=None)


def _sessions(scene: Scene, tool: subprocess.Popen[str], chance: random.Random) -> None:
    with session(scene.source) as opened:
        for row in opened.rows(
            "SELECT ID AS i FROM information_schema.PROCESSLIST WHERE USER IN (%s, %s)", [account.COPY_USER, channel.USER]
        ):
            with contextlib.suppress(ParallelBuildError):  # gone by itself meanwhile
                opened.execute(f"KILL {row['i']}")


def _server(host: Host) -> None:
    host.run(["sh", "-c", "pkill -KILL -x mariadbd || pkill -KILL -x mysqld"], timeout=30, ok=None)


def _new_server(scene: Scene, tool: subprocess.Popen[str], chance: random.Random) -> None:
    _server(scene.target)


def _old_server(scene: Scene, tool: subprocess.Popen[str], chance: random.Random) -> None:
    _server(scene.source)


def _cable(scene: Scene, name: str, tool: subprocess.Popen[str], chance: random.Random) -> None:
    container.cut_network(scene.made.machines(), name)
    with contextlib.suppress(subprocess.TimeoutExpired):
        tool.wait(chance.uniform(1, 25))
    container.restore_network(scene.made.machines(), name)


def _old_network(scene: Scene, tool: subprocess.Popen[str], chance: random.Random) -> None:
    _cable(scene, "olddb1", tool, chance)


def _new_network(scene: Scene, tool: subprocess.Popen[str], chance: random.Random) -> None:
    _cable(scene, "newdb1", tool, chance)


def _disk(scene: Scene, tool: subprocess.Popen[str], chance: random.Random) -> None:
    scene.target.script(FILL, [str(chance.choice([0, 1 << 20, 40 << 20]))], timeout=60, ok=None)
    with contextlib.suppress(subprocess.TimeoutExpired):
        tool.wait(chance.uniform(3, 25))
    scene.target.script("rm -f /small/filler", timeout=60)


Killer = Callable[[Scene, subprocess.Popen[str], random.Random], None]
KILLERS: dict[str, Killer] = {
    "the tool": _tool,
    "the new server": _new_server,
    "the worker": _worker,
    "the disk": _disk,
    "the original's server": _old_server,
    "the original's network": _old_network,
    "the sessions on the original": _sessions,
    "the new server's network": _new_network,
}


# -- one run of the tool --------------------------------------------------------------------------------------------------------


def _key(scene: Scene, host: Host) -> str:
    return (scene.made.folder / f"key-{host.name}.pub").read_text().strip()


def _run(scene: Scene, method: str, kill: tuple[str, float, Killer, random.Random] | None) -> tuple[int, str]:
    """Run the tool, and kill something at a moment of one of its phases; its exit code and what it printed last."""
    job = {
        "method": method, "schemas": SCHEMAS, "bytes_per_second": BYTES_PER_SECOND if kill else None,
        "source": describe(scene.source, _key(scene, scene.source)), "target": describe(scene.target, _key(scene, scene.target)),
    }  # fmt: skip
    tool = subprocess.Popen(
        [sys.executable, "-m", "tests.containers.database_tool"], cwd=Path(__file__).parents[2], text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert tool.stdin is not None and tool.stdout is not None and tool.stderr is not None
    printed: list[str] = []
    listener = threading.Thread(target=_listen, args=(tool.stderr, printed))
    listener.start()
    blow: threading.Thread | None = None
    tool.stdin.write(json.dumps(job) + "\n")
    tool.stdin.flush()
    for line in tool.stdout:
        phase = line.split()[1]
        if kill and phase == kill[0]:
            blow = threading.Thread(target=_strike, args=(scene, tool, *kill[1:]))
            blow.start()
        if phase == "users":
            scene.users.stop()
            with contextlib.suppress(BrokenPipeError):
                tool.stdin.write("out\n")
                tool.stdin.flush()
    with contextlib.suppress(BrokenPipeError):
        tool.stdin.close()
    code = tool.wait(timeout=300)
    if blow:
        blow.join()
    listener.join()
    tool.stdout.close()
    return code, " ".join(printed)[-300:]


def _listen(pipe: IO[str], printed: list[str]) -> None:
    printed += [line.strip() for line in pipe]
    pipe.close()


def _strike(scene: Scene, tool: subprocess.Popen[str], after: float, killer: Killer, chance: random.Random) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        tool.wait(after)
    with contextlib.suppress(ParallelBuildError):  # the machine to strike at may be struck already
        killer(scene, tool, chance)


# -- what must hold afterwards --------------------------------------------------------------------------------------------------


def _original(scene: Scene) -> dict[str, object]:
    """What must never change on the original: its tables' sums and definitions, its accounts and their rights, its settings."""
    with session(scene.source) as opened:
        accounts = [f"'{row['u']}'@'{row['h']}'" for row in opened.rows("SELECT User AS u, Host AS h FROM mysql.user ORDER BY 1, 2")]
        return {
            "sums": opened.rows("CHECKSUM TABLE bulk.event, bulk.host"),
            "definitions": [list(opened.rows(f"SHOW CREATE TABLE {name}")[0].values()) for name in ("bulk.event", "bulk.host")],
            "rights": {name: [list(row.values()) for row in opened.rows(f"SHOW GRANTS FOR {name}")] for name in accounts},
            "settings": opened.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'innodb_flush_log_at_trx_commit', 'sync_binlog')"),
        }  # fmt: skip


def _nothing_left(scene: Scene) -> None:
    assert seed.traces(scene.source, scene.target) == []
    target = scene.target
    for path in (cleanup.RUN_FOLDER, changed_rows.FOLDER, channel.FILTER_FILE[scene.family]):
        assert not target.run(["test", "-e", path], timeout=30, ok=None).ok, f"{path} is left"
    assert target.run(["systemctl", "is-active", cleanup.UNIT], timeout=30, ok=None).stdout.strip() == "inactive"
    record = cleanup.read_record(target)
    assert record is None or (record.finished and not record.settings)
    with session(target) as opened:
        assert opened.value("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit") == 1
        assert opened.rows("SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'LOAD DATA%%' AND ID <> CONNECTION_ID()") == []


def _everything_there(scene: Scene) -> None:
    verdict = compare.compare(scene.source, scene.target, SCHEMAS, threads=2, cancel=CancelToken(), progress=lambda text: None)
    assert verdict.same, [str(found) for found in verdict.differences]
    with session(scene.target) as opened:
        written = int(opened.value("SELECT COUNT(*) FROM users.written"))
        assert int(opened.value("SELECT COUNT(DISTINCT number) FROM users.written")) == written, "a row arrived twice"
        out_of_order = "SELECT COUNT(*) FROM users.written a JOIN users.written b ON b.id = a.id + 1 WHERE b.number <= a.number"
        late = int(opened.value(out_of_order))
    with session(scene.source) as opened:
        # A user whose network was cut continues in another session, and the original may get its last statement after the next one.
        assert late == int(opened.value(out_of_order)), "the order is not the original's"
    # A statement whose answer a killed server could not give any more may have been done or not.
    assert scene.users.confirmed <= written <= scene.users.tried
    assert verdict.rows == ROWS + written


def _undone(scene: Scene) -> None:
    with session(scene.target) as opened:
        assert int(opened.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('bulk', 'users')")) == 0
    assert cleanup.read_record(scene.target) is None


def _undo(scene: Scene) -> None:
    seed.remove(scene.source, scene.target)
    copy.empty(scene.target, SCHEMAS)


def _healthy(scene: Scene) -> None:
    for name in ("olddb1", "newdb1"):
        container.restore_network(scene.made.machines(), name)
    for host in (scene.source, scene.target):
        scene.made.wait(host)
    wait_for(
        "the new server's disk to be free",
        lambda: not scene.target.run(["test", "-e", "/small/filler"], timeout=30, ok=None).ok,
        timeout=30,
        cancel=scene.made.cancel,
    )


@pytest.mark.parametrize("method", ["dump", "replicate"])
def test_killed_at_random_moments_it_completes_or_is_undone(scene: Scene, method: str) -> None:
    chance = random.Random(f"{SEED} {method} {scene.family}")
    count = max(1, round(KILLS * SHARE[scene.family]))
    killers = list(KILLERS)
    _undo(scene)
    before = _original(scene)
    outcomes: dict[str, int] = {}
    for number in range(count):
        name = killers[(number + SEED) % len(killers)]
        phase = chance.choice(list(PHASES[method]))
        after = chance.uniform(0.05, PHASES[method][phase])
        began = time.monotonic()
        if method == "replicate":
            scene.users.start()
        code, printed = _run(scene, method, (phase, after, KILLERS[name], chance))
        scene.users.stop()
        _healthy(scene)
        undo = code != 0 and number % 2 == 1
        if undo:
            _undo(scene)
            _undone(scene)
        elif code != 0:
            again, words = _run(scene, method, None)
            assert again == 0, f"{name} killed {after:.1f} s into {phase}; started again: {words}"
        outcome = "undone" if undo else "completed when started again" if code else "went on by itself"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        print(
            f"  {number + 1}/{count}: {name}, {after:.1f} s into {phase}: {outcome}, {time.monotonic() - began:.0f} s; {printed[:160]}",
            flush=True,
        )
        if not undo:
            _everything_there(scene)
        _nothing_left(scene)
        assert _original(scene) == before, f"the original changed: {name} killed {after:.1f} s into {phase}"
        _undo(scene)
        _nothing_left(scene)
    print(f"{method}, {scene.family}: {count} kills: {outcomes}", flush=True)
