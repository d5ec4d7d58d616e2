"""The files of the folder `fixes`: statements that change a copy before the schema upgrade, each with its reason and with what it fixes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from parallel_build.errors import ConfigurationError

REASON = re.compile(r"^--\s*reason:\s*(\S.*)$", re.IGNORECASE | re.MULTILINE)
FIXED_ROWS = re.compile(r"^--\s*mends:(.*)$", re.IGNORECASE | re.MULTILINE)
ROW = re.compile(r"(?:cloud\.)?(\w+)\s+(\d+)")


@dataclass(frozen=True)
class Fix:
    """One file of the folder `fixes`.

    Attributes:
        name: its file name; fixes run in the order of their names.
        reason: from its header line `-- reason: ...`.
        checksum: SHA-256 of its bytes.
        text: its statements.
        rows: the rows of `cloud` that it takes out of the upgrade's way, as (table, id), from its header lines
            `-- mends: guest_os 10001, guest_os_hypervisor 17`; none where it has no such line.
    """

    name: str
    reason: str
    checksum: str
    text: str
    rows: tuple[tuple[str, int], ...] = ()


def read_fixes(folder: Path) -> list[Fix]:
    """The fixes of a folder in their order; none where there is no such folder.

    Raises:
        ConfigurationError: a file has no reason in it, names what it fixes in a form that is not known, or is no text.
    """
    found = []
    for path in sorted(folder.glob("*.sql")) if folder.is_dir() else []:
        raw = path.read_bytes()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path} is no text in UTF-8", "its statements can't be read", "save it as UTF-8") from None
        reason = REASON.search(text)
        if reason is None:
            raise ConfigurationError(
                f"{path} does not say what it is for",
                "a fix changes a production database, and whoever reads the change review must know why",
                "begin it with a line `-- reason: ...`",
            )
        found.append(Fix(path.name, reason[1].strip(), hashlib.sha256(raw).hexdigest(), text, _fixed_rows(path, text)))
    return found


def fix_of(fixes: Iterable[Fix], table: str, number: int) -> Fix | None:
    """The fix that says that it fixes a row of `cloud`; None where none does."""
    return next((fix for fix in fixes if (table, number) in fix.rows), None)


def _fixed_rows(path: Path, text: str) -> tuple[tuple[str, int], ...]:
    rows = []
    for line in FIXED_ROWS.findall(text):
        for part in line.split(","):
            row = ROW.fullmatch(part.strip())
            if row is None:
                raise ConfigurationError(
                    f"{path} says that it fixes {part.strip() or 'nothing'!r}",
                    "a row is named by its table in the database cloud and its id",
                    "write `-- mends: guest_os 10001`, several rows parted by commas",
                )
            rows.append((row[1].lower(), int(row[2])))
    return tuple(rows)
