"""Database sessions of a run that was overtaken end on real servers, with what they were doing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.errors import ConnectionFailed
from parallel_build.remote import session_token
from parallel_build.remote.sql import session
from tests.containers.database_stand import roots, sql, stand

pytestmark = [pytest.mark.databases, pytest.mark.timeout(600)]


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_a_session_that_was_overtaken_writes_nothing_more(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = roots().get(family)
    if root is None:
        pytest.skip(f"no root file system with {family}")
    monkeypatch.setattr(session_token, "_cleared", set())
    with stand() as made:
        host = made.add("left", root, 13)
        sql(host, "CREATE DATABASE held; USE held; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);")
        host.token = 4
        with session(host) as earlier, ThreadPoolExecutor(1) as pool:
            earlier.execute("SET @kept = 1")  # never opened again by itself
            host.token = None
            with session(host) as looking:
                looking.execute("START TRANSACTION")
                looking.rows("SELECT id FROM held.t WHERE id = 1 FOR UPDATE")
                slow = pool.submit(earlier.execute, "UPDATE held.t SET id = 9 WHERE id = 1")
                busy = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'UPDATE held%%'"
                wait_for("the slow statement", lambda: looking.value(busy), timeout=60, cancel=CancelToken())
                host.token = 5
                with session(host) as later:
                    with pytest.raises(ConnectionFailed):
                        slow.result(timeout=40)
                    with pytest.raises(ConnectionFailed):
                        earlier.execute("INSERT INTO held.t VALUES (3)")
                    looking.execute("COMMIT")
                    assert later.rows("SELECT id FROM held.t") == [{"id": 1}]
                assert looking.value("SELECT 1") == 1, "a session that only looks is nobody's"
