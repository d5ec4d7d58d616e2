"""`db.properties`: read, and single values replaced, as CloudStack's own commands do it."""

from __future__ import annotations

from parallel_build.errors import StepFailed

DB_PROPERTIES = "/etc/cloudstack/management/db.properties"
KEY_FILE = "/etc/cloudstack/management/key"


def parse(text: str) -> dict[str, str]:
    """The `key=value` lines; comments and blank lines are passed over."""
    values = {}
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#") and "=" in stripped:
            key, value = stripped.split("=", 1)
            values[key.strip()] = value.strip()
    return values


def replace(text: str, values: dict[str, str]) -> str:
    """Replace the values of keys that are there; everything else stays as it is, byte by byte.

    Raises:
        StepFailed: one of the keys is not there, so this is not the file it is taken for.
    """
    missing = set(values) - set(parse(text))
    if missing:
        raise StepFailed(
            f"db.properties has no {', '.join(sorted(missing))}",
            "it is not the file that cloudstack-setup-databases writes",
            "see whether the package is whole: `dpkg --verify cloudstack-management`",
        )
    lines = []
    for line in text.splitlines(keepends=True):
        key = line.split("=", 1)[0].strip()
        ending = "\n" if line.endswith("\n") else ""
        lines.append(f"{key}={values[key]}{ending}" if key in values and not line.lstrip().startswith("#") else line)
    return "".join(lines)
