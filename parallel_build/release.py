"""Which version of the library this is, and how Pulumi writes it. Standard library only: the build reads this file, too."""

from __future__ import annotations

import re
from importlib import metadata

DISTRIBUTION = "cloudstack-parallel-build"
FALLBACK = "0.1.0"
"""The version of a tree that neither a tag nor an installation gives one."""

DESCRIBED = re.compile(r"v(\d+)\.(\d+)\.(\d+)-(\d+)-g[0-9a-f]+")
WRITTEN = re.compile(r"(\d+\.\d+\.\d+)(?:\.?(a|b|rc|dev)(\d+))?(?:\+.*)?")


def of_tag(described: str) -> str:
    """The version of what `git describe --tags --long --match 'v[0-9]*'` prints: the tag's own, or a development version before the next."""
    found = DESCRIBED.fullmatch(described.strip())
    if found is None:
        return FALLBACK
    major, minor, patch, commits = map(int, found.groups())
    return f"{major}.{minor}.{patch}" if commits == 0 else f"{major}.{minor}.{patch + 1}.dev{commits}"


def version() -> str:
    """The version of the installed distribution; `FALLBACK` where the tree is used without being installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return FALLBACK


def plugin_version(written: str | None = None) -> str:
    """The library's version as Pulumi writes versions: `1.2.3`, `1.2.4-dev.5`."""
    text = version() if written is None else written
    found = WRITTEN.fullmatch(text)
    if found is None:
        return FALLBACK
    numbers, kind, count = found.groups()
    return f"{numbers}-{kind}.{count}" if kind else numbers


def is_later(one: str, other: str) -> bool:
    """Whether `one` is a later version than `other`, both as Pulumi writes them. A text that is no version is later than all."""
    return _rank(one) > _rank(other)


def _rank(text: str) -> tuple[tuple[int, ...], tuple[str, int]]:
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(?:-([a-z]+)\.?(\d*))?(?:\+.*)?", text)
    if found is None:
        return (1 << 30,), ("", 0)
    kind, count = found[4], found[5]
    # A release comes after its own development versions; `~` is behind every letter.
    order = {"dev": "0"}.get(kind, kind) if kind else "~"
    return tuple(int(part) for part in found.groups()[:3]), (order, int(count or 0))
