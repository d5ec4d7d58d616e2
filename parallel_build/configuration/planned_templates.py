"""System VM templates that `plan --write-templates` wrote next to a stack file: what the stack registers where its file has no `templates`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parallel_build.errors import ConfigurationError
from parallel_build.versions import CloudStackVersion

SECTION, TARGET, ORIGINAL = "templates", "new", "original"


def place(stack_file: Path) -> Path:
    """Where they are: `Pulumi.prod.templates.json` next to `Pulumi.prod.yaml`."""
    return stack_file.with_suffix(f".{SECTION}.json")


def with_planned(values: Mapping[str, str], stack_file: Path) -> dict[str, str]:
    """A stack's values, with the planned templates where it has none of its own and a plan wrote some.

    Args:
        values: as Pulumi has them, objects as JSON texts.
    Raises:
        ConfigurationError: the file can't be used, or was written for another target.
    """
    path = place(stack_file)
    if SECTION in values or not path.exists():
        return dict(values)
    target = _version(values, TARGET)
    if target is not None and target == _version(values, ORIGINAL):
        return dict(values)  # a move takes none; they were written for the upgrade to this version
    written = _read(path)
    if target is not None and written["version"] != target:
        raise ConfigurationError(
            f"{path} has the templates of CloudStack {written['version']}, and new.version is {target}",
            "another target looks up other names",
            "run `parallel-build plan STACK --write-templates` again, or list `templates` in the stack file; nothing has been contacted or changed",
        )
    return {**values, SECTION: json.dumps(written[SECTION])}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        return {"version": CloudStackVersion(found["version"]), SECTION: list(found[SECTION])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"{path} can't be used",
            f"it is not what `plan --write-templates` writes ({type(error).__name__})",
            "write it again with `parallel-build plan STACK --write-templates`, or remove it; nothing has been contacted or changed",
        ) from None


def _version(values: Mapping[str, str], side: str) -> CloudStackVersion | None:
    """A side's configured version; None where it can't be read, which the whole configuration's check then reports."""
    try:
        return CloudStackVersion(json.loads(values[side])["version"])
    except (ValueError, TypeError, KeyError):
        return None
