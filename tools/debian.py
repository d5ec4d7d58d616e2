"""Debian packages: which are missing, and installing them all or none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping

from tools.errors import ToolError
from tools.pins import DEBIAN_PACKAGES
from tools.progress import piece, run

_PROGRAMS = {"ca-certificates": "", "git": "git", "openssh-client": "ssh", "python3": "python3", "python3-venv": "",
             "xsltproc": "xsltproc", "genisoimage": "mkisofs"}  # fmt: skip
"""What the packages of purpose `run` are needed for, so that they can be looked for on other distributions."""


def packages_for(purposes: Iterable[str]) -> list[str]:
    """Packages of the purposes and of `run`, which all of them need; sorted, each once."""
    return sorted({package for purpose in {"run", *purposes} for package in DEBIAN_PACKAGES[purpose]})


def missing_packages(packages: Iterable[str], dpkg_output: str) -> list[str]:
    """Packages that `dpkg-query -W -f '${Package} ${db:Status-Status}\\n'` does not show as installed."""
    installed = {name for name, _, status in (line.partition(" ") for line in dpkg_output.splitlines()) if status == "installed"}
    return [package for package in packages if package not in installed]


def ensure_packages(purposes: Iterable[str]) -> None:
    """Install what is missing for the purposes; nothing is installed unless everything could be downloaded.

    Raises:
        ToolError: a package is missing and can't be installed here (no root, no Debian, no archive).
    """
    purposes = list(purposes)
    packages = packages_for(purposes)
    with piece("Debian packages") as this:
        if shutil.which("dpkg-query") is None:
            _check_programs(purposes)
            this.outcome = "found (programs; this is no Debian)"
            return
        missing = _missing(packages)
        if not missing:
            this.outcome = f"found ({len(packages)})"
            return
        if os.geteuid() != 0:
            raise ToolError(
                f"Debian packages are missing: {' '.join(missing)}",
                "installing them needs root",
                f"run as root: apt-get install --no-install-recommends {' '.join(missing)}",
            )
        _install(missing)
        still = _missing(packages)
        if still:
            raise ToolError(f"Debian packages are still missing: {' '.join(still)}", "apt-get reported no error", "look at `dpkg --audit`")
        this.outcome = f"installed {len(missing)} of {len(packages)}"


def _missing(packages: list[str]) -> list[str]:
    # dpkg-query exits with 1 when it does not know one of the packages; what it knows is on its output all the same.
    command = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    return missing_packages(packages, subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def _install(missing: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-y", "-q", "--no-remove", "-o", "DPkg::Lock::Timeout=300"]  # nothing of this machine's own goes for ours
    download = [*apt, "install", "--no-install-recommends", "--download-only", *missing]
    what = f"downloading {len(missing)} Debian packages"
    try:
        run(download, what, limit=1800, environment=environment)
    except ToolError:
        # Most often the package lists are missing or old: fetch them, once, and try again.
        run([*apt, "update"], "apt-get update", remedy=_remedy(missing), limit=600, environment=environment)
        run(download, what, remedy=_remedy(missing), limit=1800, environment=environment)
    install = [*apt, "install", "--no-install-recommends", *missing]
    run(install, f"installing {len(missing)} Debian packages", remedy=_remedy(missing), limit=1800, environment=environment)


def _remedy(missing: list[str]) -> str:
    return f"make this work and run again: apt-get update && apt-get install --no-install-recommends {' '.join(missing)}"


def _check_programs(purposes: list[str], programs: Mapping[str, str] = _PROGRAMS) -> None:
    if "lab" in purposes:
        raise ToolError("the lab does not run on this machine", "it is no Debian (no dpkg), and the lab is made of Debian's packages",
                        "run the lab on Debian 12; the stack itself (--for run) works here")  # fmt: skip
    missing = [program for program in programs.values() if program and shutil.which(program) is None]
    if missing:
        raise ToolError(f"programs are missing: {' '.join(missing)}", "this is no Debian, so they are not installed from here",
                        "install them with this machine's package manager and run again")  # fmt: skip
