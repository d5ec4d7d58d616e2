"""`python -m lab.database`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lab.database.__main__ import main

FEW = ["--rows-usage", "5", "--rows-event", "5", "--rows-usage-event", "5", "--rows-vm-stats", "5"]


@pytest.mark.engine
def test_generate_and_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    key.write_text("from a file\n", encoding="utf-8")
    folder = tmp_path / "out"
    assert main(["generate", *FEW, "--database-key-file", str(key), "--encryptor", "V1", "--output", str(folder)]) == 0
    assert "tables" in capsys.readouterr().err
    assert json.loads((folder / "secrets.json").read_text(encoding="utf-8"))["secrets"]["database_key"] == "from a file"
    dumps = [f"{name}={folder / name}.sql" for name in ("cloud", "cloud_usage")]
    assert main(["inspect", *dumps, "--database-key-file", str(key)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["version"], shown["encryptor"], shown["key_fits"]) == ("4.20.3.0", "V1", True)
    assert {user["secret_key"] for user in shown["users"]} == {True, False}


@pytest.mark.processes
def test_describe_hides_secrets_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", *FEW, "--hypervisor-hosts", "h1=10.91.0.71"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [host["name"] for host in shown["layout"]["hosts"]] == ["h1"]
    assert "secrets" not in shown
    assert main(["describe", *FEW, "--secrets"]) == 0
    assert json.loads(capsys.readouterr().out)["secrets"]["admin"]["api_key"]


def test_load_feeds_a_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "sent"
    client = f"{sys.executable} -c \"import sys; open({str(kept)!r},'wb').write(sys.stdin.buffer.read())\""
    assert main(["load", *FEW, "--client", client]) == 0
    assert kept.stat().st_size > 500_000
    assert "loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "a.sql", "b.sql"], "without saying of which database"),
        (["inspect", "cloud=none.sql"], "is not there"),
        (["generate", "--database-key-file", "/no/such/file", "--stream"], "can't be read"),
        (["generate", "--scale", "0", "--stream"], "below zero"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
