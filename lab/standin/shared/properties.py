"""db.properties, server.properties and agent.properties."""

from __future__ import annotations

import os
from pathlib import Path


class WrongFormat(Exception):
    """A line is neither a comment nor KEY=VALUE; carries the file."""


def read(path: Path) -> dict[str, str]:
    """Return the keys of a properties file; raises OSError where it can't be read."""
    values: dict[str, str] = {}
    for line in path.read_text().splitlines():
        text = line.strip()
        if text and not text.startswith("#") and "=" in text:
            key, value = text.split("=", 1)
            values[key.strip()] = value.strip()
    return values


def is_encrypted(value: str) -> bool:
    """Tell whether a value of db.properties is written as ENC(...)."""
    return value.startswith("ENC(") and value.endswith(")")


def ciphertext(value: str) -> str:
    """Return what is inside ENC(...)."""
    return value[len("ENC(") : -1]


class SetupProperties:
    """db.properties as cloudstack-setup-databases reads and writes it.

    Comments and blank lines keep their places, but a line of nothing but `#` is lost, and the file ends without a
    newline. [CloudStack 4.20 setup/bindir/cloud-setup-databases.in; seen in what it leaves behind]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[tuple[str, str | None]] = []
        for line in path.read_text().split("\n"):
            text = line.strip()
            if text == "#":
                continue
            if not text or text.startswith("#"):
                self._lines.append((line, None))
            elif "=" not in text:
                raise WrongFormat(str(path))
            else:
                key, value = text.split("=", 1)
                self._lines.append((key.strip(), value.strip()))
        if self._lines and self._lines[-1] == ("", None):
            self._lines.pop()

    def get(self, key: str) -> str | None:
        """Return a value, or None where the key does not occur."""
        for name, value in self._lines:
            if value is not None and name == key:
                return value
        return None

    def put(self, key: str, value: str) -> None:
        """Set a value in its place; a new key goes to the end."""
        for index, (name, old) in enumerate(self._lines):
            if old is not None and name == key:
                self._lines[index] = (key, value)
                return
        self._lines.append((key, value))

    def replace(self, key: str, value: str) -> None:
        """Set a value only where the key already occurs."""
        if self.get(key) is not None:
            self.put(key, value)

    def write(self) -> None:
        """Write the file in place: owner and mode stay what the package made them."""
        text = "\n".join(name if value is None else f"{name}={value}" for name, value in self._lines)
        self.path.write_text(text)


def store(path: Path, key: str, value: str) -> None:
    """Set one key of a properties file as a Java server does: all else stays, the file is replaced in one move."""
    lines = path.read_text().splitlines() if path.exists() else []
    for index, line in enumerate(lines):
        if line.strip().startswith(f"{key}=") or line.strip() == key:
            lines[index] = f"{key}={value}"
            break
    else:
        lines.append(f"{key}={value}")
    next_to = path.with_name(path.name + ".new")
    next_to.write_text("\n".join(lines) + "\n")
    if path.exists():
        next_to.chmod(path.stat().st_mode & 0o7777)
        if os.geteuid() == 0:
            os.chown(next_to, path.stat().st_uid, path.stat().st_gid)
    next_to.replace(path)
