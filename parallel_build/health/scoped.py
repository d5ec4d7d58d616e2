"""Settings as they are in force somewhere: the global ones, and those that a domain, account, zone, cluster or store has of its own.

The same tables hold passwords and what is no setting. So nothing of the categories Hidden and Secure is read, and nothing whose name sounds like a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from parallel_build.cloudstack.setting_scopes import SCOPES
from parallel_build.health.file_places import MANAGEMENT_FOLDER

Row = dict[str, Any]
IN_CONFIGURATION = ("saml2.idp.metadata.url",)
# A full name, alone or in a URL; name services and operators know underscores in it, and a dot at its end.
HOST_NAME = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://)?(?:[^/@]*@)?([a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9_-]+)+)\.?(?::\d+)?(?:[/?#].*)?", re.IGNORECASE
)


QUERIES = {f"settings of a {scope}": found.statement for scope, found in SCOPES.items()}
# Addresses that are no settings: where single sign-on sends people back to, and what hosts themselves download when a VM is started.
ADDRESSES = {
    "sign-on": "SELECT provider AS owner, 'redirect_uri' AS name, redirect_uri AS value FROM cloud.oauth_provider WHERE removed IS NULL",
    "direct downloads": "SELECT name AS owner, 'template url' AS name, url AS value FROM cloud.vm_template "
    "WHERE removed IS NULL AND direct_download = 1 AND url IS NOT NULL",
}


@dataclass(frozen=True)
class Setting:
    """A value in force.

    Attributes:
        name, value: of the setting.
        where: "" for the whole cloud, else such as `domain ROOT/sales`.
    """

    name: str
    value: str
    where: str = ""

    @property
    def label(self) -> str:
        """Its name, and whose value it is."""
        return f"{self.name} of {self.where}" if self.where else self.name

    def __str__(self) -> str:
        return f"{self.label} ({self.value})"


def everywhere(rows: Callable[[str], list[Row]], unanswered: Iterable[str]) -> Iterator[Setting]:
    """Every value, global ones first.

    Args:
        rows: the rows of a query.
        unanswered: queries without an answer: a version that has no such table has no such settings, anything else is a finding already.
    """
    for row in rows("settings"):
        yield Setting(str(row["name"]), str(row["value"] or ""))
    for scope in SCOPES:
        if (query := f"settings of a {scope}") not in unanswered:
            for row in rows(query):
                yield Setting(str(row["name"]), str(row["value"] or ""), f"{scope} {row['owner']}")


def addresses(rows: Callable[[str], list[Row]], unanswered: Iterable[str]) -> Iterator[Setting]:
    """The addresses that are kept outside of settings."""
    for query in ADDRESSES:
        if query not in unanswered:
            for row in rows(query):
                yield Setting(str(row["name"]), str(row["value"] or ""), str(row["owner"]))


def mentions(value: str, name: str) -> bool:
    """Whether a value has a server's name or address in it: not as a part of a longer number or name, but also before the rest of a full name."""
    return bool(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\d)", value, re.IGNORECASE))


def host_names(value: str) -> list[str]:
    """The host names in a value that is a URL, a host name, or a list of them."""
    found = (HOST_NAME.fullmatch(part) for part in re.split(r"[\s,;]+", value))
    return [match[1].lower() for match in found if match and not re.fullmatch(r"[\d.]+", match[1])]


def local_path(setting: Setting) -> str:
    """The file or folder of a management server that a setting names, "" where its value is none.

    A metadata URL without a scheme is a file among the service's own [CloudStack SAML2AuthManagerImpl].
    """
    value = setting.value.strip()
    if value.startswith("file://"):
        value = value.removeprefix("file://")
    elif setting.name in IN_CONFIGURATION and value and "://" not in value and not value.startswith("/"):
        value = f"{MANAGEMENT_FOLDER}/{value}"
    return value if value.startswith("/") and len(value) > 1 and not re.search(r"[\s,;?]", value) else ""
