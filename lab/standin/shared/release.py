"""Which CloudStack version this package stands in for."""

from __future__ import annotations

import os
from functools import total_ordering
from pathlib import Path


@total_ordering
class Version:
    """A CloudStack version of four numbers, for instance 4.20.3.0."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.numbers = tuple(int(part) for part in self.text.split("."))

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.numbers == other.numbers

    def __lt__(self, other: Version) -> bool:
        return self.numbers < other.numbers

    def __hash__(self) -> int:
        return hash(self.numbers)


def code_version() -> Version:
    """Return the version of the installed package.

    The packages carry it in a file of their own; from a checkout the environment has to name it.
    """
    carried = Path(__file__).with_name("VERSION")
    if carried.exists():
        return Version(carried.read_text())
    return Version(os.environ["STANDIN_VERSION"])


def template_version(template_name: str) -> str:
    """Return the version that a system VM template of this name carries in its /etc/cloudstack-release.

    Templates since 4.20 are called systemvm-HYPERVISOR-VERSION-ARCH, older ones without the architecture. The one of
    the simulator has no version in its name; its routers report 4.10.0.
    """
    for part in template_name.split("-"):
        if part and all(number.isdigit() for number in part.split(".")) and "." in part:
            return part
    return "4.10.0"


def trimmed(release: str | None) -> str:
    """Return the version in a line like `Cloudstack Release 4.20.2 Tue ...`; 0 where there is none."""
    words = (release or "").split()
    if len(words) >= 3 and all(part.isdigit() for part in words[2].split(".")):
        return words[2]
    return "0"


def release_line(version: str) -> str:
    """Return the text of a system VM's /etc/cloudstack-release."""
    return f"Cloudstack Release {version} Thu Oct  9 12:02:11 UTC 2025"
