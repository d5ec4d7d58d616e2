"""Feeding a client program: what is sent, and what is reported when it fails."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

from lab.database import Accounts, DatabasePlan, load
from lab.database.errors import DumpError, LoadFailed

pytestmark = pytest.mark.processes

SMALL = DatabasePlan(rows_usage=10, rows_event=10, rows_usage_event=10, rows_vm_stats=10, link_local_addresses=10)


def _client(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


def _keeping(path: Path) -> list[str]:
    return _client("import shutil,sys; shutil.copyfileobj(sys.stdin.buffer, open(sys.argv[1],'wb'))", str(path))


def test_a_plan_is_streamed_after_the_accounts(tmp_path: Path) -> None:
    kept = tmp_path / "sent.sql"
    done = load(_keeping(kept), SMALL, accounts=Accounts("it's \\ secret", ("localhost", "10.91.0.11")))
    text = kept.read_text(encoding="utf-8")
    assert text.startswith("CREATE USER IF NOT EXISTS 'cloud'@'localhost' IDENTIFIED BY 'it\\'s \\\\ secret';\n")
    assert "TO 'cloud'@'10.91.0.11';" in text
    assert text.index("GRANT") < text.index("CREATE DATABASE")
    assert done.bytes == kept.stat().st_size
    assert done.generated is not None and done.generated.secrets.admin.username == "admin"


def test_dumps_go_into_their_databases_in_order(tmp_path: Path) -> None:
    first, second, kept = tmp_path / "a.sql", tmp_path / "b.sql.gz", tmp_path / "sent.sql"
    first.write_text("SELECT 'usage';\n", encoding="utf-8")
    second.write_bytes(gzip.compress(b"SELECT 'cloud';\n"))
    seen: list[int] = []
    load(_keeping(kept), {"cloud_usage": first, "cloud": second}, progress=seen.append)
    lines = kept.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("USE", "SELECT", "COMMIT"))] == [
        "USE `cloud`;", "SELECT 'cloud';", "COMMIT;", "USE `cloud_usage`;", "SELECT 'usage';", "COMMIT;",
    ]  # fmt: skip
    assert seen == []  # less than a megabyte


def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[int] = []
    load(_keeping(tmp_path / "sent.sql"), SMALL.with_(rows_usage=20_000), progress=seen.append)
    assert len(seen) > 3
    assert seen == sorted(seen)


def test_the_servers_first_error_is_reported() -> None:
    script = (
        "import sys; sys.stdin.buffer.read(10); print('note', file=sys.stderr);"
        "print('ERROR 1449 (HY000) at line 7: The user is not there', file=sys.stderr); sys.exit(1)"
    )
    with pytest.raises(LoadFailed, match=r"ERROR 1449 .* Remedy: a view's definer does not exist"):
        load(_client(script), SMALL.with_(rows_event=20_000))


def test_a_failure_after_the_last_byte_is_reported_too() -> None:
    script = "import sys; sys.stdin.buffer.read(); print('ERROR 1050 (42S01): Table exists', file=sys.stderr); sys.exit(1)"
    with pytest.raises(LoadFailed, match="databases are not empty"):
        load(_client(script), SMALL)


def test_a_client_that_does_not_read_is_ended() -> None:
    with pytest.raises(LoadFailed, match="took longer than 1 seconds"):
        load(_client("import threading; threading.Event().wait(60)"), SMALL.with_(rows_event=20_000), timeout=1)


def test_a_client_that_is_not_there_is_reported() -> None:
    with pytest.raises(LoadFailed, match="could not be started"):
        load(["no-such-client"], SMALL)


def test_a_bad_dump_ends_the_client(tmp_path: Path) -> None:
    bad = tmp_path / "cloud.sql.gz"
    bad.write_bytes(gzip.compress(b"SELECT 1;\n" * 5000)[:-20])
    with pytest.raises(DumpError, match="can't be unpacked"):
        load(_keeping(tmp_path / "sent.sql"), {"cloud": bad})


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(Accounts("secret"))
