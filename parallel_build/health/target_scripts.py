"""Guest operating systems that the target's own upgrade scripts insert under fixed numbers: a row of the operator's with such a number ends the upgrade.

The scripts are read out of the packages on a new management server (`META-INF/db/schema-AAAtoBBB.sql` in CloudStack's jars), so the answer is that of
exactly the release that will run. Symptom without it: `Duplicate entry '...' for key 'PRIMARY'` [CloudStack issues 5685, 2740, 3609].
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from parallel_build.remote.access import Access
from parallel_build.versions import CloudStackVersion

LIBRARY = "/usr/share/cloudstack-management/lib"
TABLES = ("guest_os", "guest_os_hypervisor")
# Prints {script: [statement, ...]} as JSON: only statements that insert into the two tables leave the server.
READER = r"""
import glob, json, re, sys, zipfile
found = {}
for jar in glob.glob(sys.argv[1] + "/*.jar"):
    try:
        archive = zipfile.ZipFile(jar)
    except zipfile.BadZipFile:
        continue
    for name in archive.namelist():
        script = re.fullmatch(r"META-INF/db/(schema-\d+to\d+)\.sql", name)
        if script:
            text = archive.read(name).decode("utf-8", "replace")
            text = re.sub(r"^\s*(--|#).*$", "", text, flags=re.M)
            found.setdefault(script.group(1), []).extend(re.findall(r"INSERT\s[^;]*?guest_os(?:_hypervisor)?\W[^;]*;", text, flags=re.I | re.S))
print(json.dumps(found))
"""
STATEMENT = re.compile(
    r"INSERT\s+(?P<ignore>IGNORE\s+)?INTO\s+(?:`?cloud`?\s*\.\s*)?`?(?P<table>guest_os(?:_hypervisor)?)`?\s*"
    r"\((?P<columns>[^)]*)\)\s*VALUES\s*(?P<values>.*);",
    re.IGNORECASE | re.DOTALL,
)
PIECE = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|[(),]|[^(),'\"]+")


@dataclass(frozen=True)
class GuestOsInsert:
    """A row that an upgrade script inserts under a fixed number.

    Attributes:
        table: guest_os or guest_os_hypervisor.
        number: its id.
        name: the operating system's name.
        script: the script's name, such as `schema-41400to41500`.
        ignored: INSERT IGNORE: a row that is there wins silently, and the mappings that follow are for another system.
    """

    table: str
    number: int
    name: str
    script: str
    ignored: bool


def read(host: Access, old: CloudStackVersion, new: CloudStackVersion) -> list[GuestOsInsert] | None:
    """Inserts of the steps from `old` to `new`; None when no upgrade script is found there."""
    shown = host.run(["python3", "-", LIBRARY], input=READER, ok=(0, 1, 127))
    if not shown.ok or not shown.stdout.strip():
        return None
    scripts: dict[str, list[str]] = json.loads(shown.stdout)
    if not scripts:
        return None
    return [
        insert
        for script in sorted(scripts)
        if on_the_path(script, old, new)
        for statement in scripts[script]
        for insert in parse(script, statement)
    ]


def on_the_path(script: str, old: CloudStackVersion, new: CloudStackVersion) -> bool:
    """Whether a script is run in an upgrade: it ends after `old` and not after `new`."""
    target = release_of(script.partition("to")[2])
    return target is not None and old < target <= new


def release_of(digits: str) -> CloudStackVersion | None:
    """`42100` -> 4.21.0.0, `4930` -> 4.9.3.0, `450` -> 4.5.0, `2400` -> 24.0.0: how scripts are named [CloudStack engine/schema META-INF/db].

    Releases of three numbers begin with the year's, 24 or later; `2214` is 2.2.14, long before all that can be upgraded here.
    """
    if re.fullmatch(r"(2[4-9]|3\d)\d{2,3}", digits):
        return CloudStackVersion(f"{digits[:2]}.{digits[2:-1]}.{digits[-1]}")
    if re.fullmatch(r"4[1-9]\d{3}", digits):
        return CloudStackVersion(f"4.{digits[1:3]}.{digits[3]}.{digits[4]}")
    if re.fullmatch(r"4\d{2,3}", digits):
        return CloudStackVersion(".".join(digits))
    return None


def parse(script: str, statement: str) -> Iterator[GuestOsInsert]:
    """The rows of a statement that have a fixed number."""
    match = STATEMENT.search(statement)
    if not match:
        return
    columns = [column.strip().strip("`").lower() for column in match["columns"].split(",")]
    name_column = "display_name" if match["table"].lower() == "guest_os" else "guest_os_name"
    if "id" not in columns:
        return
    for values in _tuples(match["values"]):
        if len(values) != len(columns):
            continue
        row = dict(zip(columns, values, strict=True))
        if row["id"].isdigit():
            yield GuestOsInsert(
                match["table"].lower(), int(row["id"]), row.get(name_column, "").strip("'\""), script, bool(match["ignore"])
            )


def _tuples(text: str) -> Iterator[list[str]]:
    depth, value = 0, ""
    values: list[str] = []
    for part in PIECE.findall(text):
        if part == "(":
            depth += 1
            value, values = ("", []) if depth == 1 else (value + part, values)
        elif part == ")":
            depth -= 1
            if depth == 0:
                yield [*values, value.strip()]
            else:
                value += part
        elif part == "," and depth == 1:
            values, value = [*values, value.strip()], ""
        elif depth:
            value += part
