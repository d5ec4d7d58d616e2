"""The families of systems that servers run, as data: which programs handle packages, and where things lie. Which one a server is, it says itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from parallel_build.configuration.database_combinations import Family as Engine
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access

RELEASE_FILES = ("/etc/os-release", "/usr/lib/os-release")


@dataclass(frozen=True)
class SystemFamily:
    """A family of distributions.

    Attributes:
        name: for messages.
        ids: words of os-release's ID and ID_LIKE.
        program: what handles its packages.
        option_folder: of an engine's option files; read by name, so that ours win over those of the packages.
        server_unit: of an engine's server, by what packages call it.
    """

    name: str
    ids: frozenset[str]
    program: str
    option_folder: dict[Engine, str]
    server_unit: dict[Engine, str]


DEBIAN = SystemFamily(
    "the Debian family",
    frozenset({"debian", "ubuntu"}),
    "apt-get",
    {"mariadb": "/etc/mysql/mariadb.conf.d", "mysql": "/etc/mysql/mysql.conf.d"},
    {"mariadb": "mariadb.service", "mysql": "mysql.service"},
)
EL = SystemFamily(
    "the EL family",
    frozenset({"rhel", "centos", "fedora", "rocky", "almalinux", "ol"}),
    "dnf",
    {"mariadb": "/etc/my.cnf.d", "mysql": "/etc/my.cnf.d"},
    {"mariadb": "mariadb.service", "mysql": "mysqld.service"},
)
FAMILIES = (DEBIAN, EL)


@dataclass(frozen=True)
class System:
    """What a server runs.

    Attributes:
        family: None where it is of no known one.
        text: its own name for itself.
        version: VERSION_ID.
    """

    family: SystemFamily | None
    text: str
    version: str


def parse(text: str) -> System:
    """A system from the text of its os-release; ID counts before ID_LIKE."""
    values = dict(re.findall(r"""^([A-Z_]+)=["']?(.*?)["']?\s*$""", text, re.MULTILINE))
    words = [values.get("ID", ""), *values.get("ID_LIKE", "").split()]
    family = next((each for word in words for each in FAMILIES if word in each.ids), None)
    return System(family, values.get("PRETTY_NAME") or values.get("ID") or "an unknown system", values.get("VERSION_ID", ""))


def system_of(host: Access) -> System:
    """What a server says that it runs."""
    for path in RELEASE_FILES:
        if content := host.read(path):
            return parse(content.decode(errors="replace"))
    return System(None, "an unknown system", "")


def family_of(host: Access) -> SystemFamily:
    """A server's family.

    Raises:
        StepFailed: it is of none that is known here.
    """
    system = system_of(host)
    if system.family is None:
        raise StepFailed(
            f"{host.name} runs {system.text}",
            "its os-release names neither the Debian family nor the EL family: paths and packages of others are not known here",
            "take a server of Debian, Ubuntu or Enterprise Linux",
        )
    return system.family


def placed(host: Access, path: str) -> str:
    """Where an option file of ours lies on a server: configurations name the Debian family's folder."""
    for engine, folder in DEBIAN.option_folder.items():
        if path.startswith(f"{folder}/"):
            return f"{family_of(host).option_folder[engine]}/{path.rpartition('/')[2]}"
    return path
