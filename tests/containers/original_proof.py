"""The proof that a rollback is complete: the original serves whole, and its databases are as they were before the window."""

from __future__ import annotations

import json
from pathlib import Path

from tests.containers.conftest import LabRunner, tell


def keep_reading(lab: LabRunner) -> Path:
    """A file with what the original's tables hold now, to be compared with later."""
    path = lab.folder / "before.json"
    path.write_text(lab.run("checksums").stdout)
    return path


def assert_original_serves(lab: LabRunner, before: Path | None = None, *, destroyed: bool = False) -> None:
    """Every server of the original answers with the old version and to users, agents and system VMs are its own, nothing of the new side runs.

    Args:
        before: what `keep_reading` kept; every row that nobody should have written is as it was then.
        destroyed: the stack was destroyed since.
    """
    printed = lab.run("verify", "original").stdout
    assert "serving: original" in printed
    if before is not None:
        assert_unchanged(lab, before, destroyed=destroyed)


def assert_unchanged(lab: LabRunner, before: Path, *, destroyed: bool = False) -> None:
    """Nothing in the original's databases differs but rows that its own servers write; they are printed."""
    compared = lab.run("checksums", "--compare", str(before), *(["--destroyed"] if destroyed else []), check=False)
    found = json.loads(compared.stdout)
    for table, changes in found["rows"].items():
        tell(f"{table}: " + "; ".join(f"{kind} {_shown(keys)}" for kind, keys in changes.items() if keys))
    assert compared.returncode == 0, (found["different"], found["damaged"])
    assert found["tables"] > 300


def _shown(keys: list[str]) -> str:
    return ", ".join(keys) if len(keys) <= 12 else f"{len(keys)} rows, {keys[0]} to {keys[-1]}"
