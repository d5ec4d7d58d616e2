"""Where packages come from: the Debian archive that the host's own apt is configured with, never a written name."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

from tools.errors import ToolError

_FIELDS = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"

_HOST_OPTIONS = re.compile(r"^Acquire::(?:http|https|Check-|Retries|ForceIPv)", re.IGNORECASE)

_ENVIRONMENT = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "APT_CONFIG", "TMPDIR")


@dataclass(frozen=True)
class Archive:
    """The Debian archive, and the security archive where the host knows one."""

    main: str
    security: str | None

    def sources(self, suite: str, extra_suites: tuple[str, ...]) -> list[str]:
        """apt source lines for a suite and its companions; a security suite is left out where no archive is known."""
        lines = [f"deb {self.main} {suite} main"]
        for extra in extra_suites:
            archive = self.security if extra.endswith("-security") else self.main
            if archive is not None:
                lines.append(f"deb {archive} {extra} main")
        return lines


def parse_index_targets(text: str) -> Archive | None:
    """Find the Debian archives in the output of `apt-get indextargets` (fields Origin, Label, URI)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        origin, label, uri = (*line.split("|"), "", "")[:3]
        if origin == "Debian":
            found.setdefault(label, uri)
    return Archive(found["Debian"], found.get("Debian-Security")) if "Debian" in found else None


def host_archive() -> Archive:
    """The archives of the host's own apt.

    Raises:
        ToolError: this is no Debian, or its apt knows no Debian archive.
    """
    for attempt in ("first", "after an update"):
        archive = parse_index_targets(_apt("apt-get", "indextargets", "--format", _FIELDS, "Identifier: Packages"))
        if archive is not None:
            return archive
        if attempt == "first":
            _apt("apt-get", "update", "-qq")
    raise ToolError(
        "this machine's apt knows no Debian archive, so the lab's images can't be made",
        "`apt-get indextargets` names no index whose origin is Debian",
        "run the lab on Debian 12 or newer, with its archive in /etc/apt/sources.list.d",
    )


def parse_options(dump: str) -> list[str]:
    """Lines of `apt-config dump` that decide how the host reaches its archive (proxies, checks, retries)."""
    return [line.strip() for line in dump.splitlines() if _HOST_OPTIONS.match(line) and not line.endswith('"";')]


def host_options() -> list[str]:
    """The host's apt options that a build must share to reach the same archive."""
    return parse_options(_apt("apt-config", "dump"))


def build_environment() -> dict[str, str]:
    """Environment of a build: clean, so that the caller's language or Python settings don't end up in an image."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **kept}


def _apt(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except FileNotFoundError as error:
        raise ToolError(
            f"{command[0]} is not on this machine, so the lab's images can't be made",
            "they are made from the Debian archive that the machine's own apt is configured with",
            "run the lab on Debian 12 or newer",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{' '.join(command)} gave no answer in 300 s", "", "look at the machine's network") from error
    if done.returncode != 0:
        raise ToolError(f"{' '.join(command)} failed with exit code {done.returncode}", done.stderr.strip()[-400:])
    return done.stdout
