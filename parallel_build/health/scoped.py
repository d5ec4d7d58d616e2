"""Settings as they are in force somewhere: the global ones, and those that a domain, account, zone, cluster or store has of its own.

The same tables hold passwords and what is no setting. So nothing of the categories Hidden and Secure is read, and nothing whose name sounds like a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from parallel_build.health.file_places import MANAGEMENT_FOLDER

Row = dict[str, Any]
HELD_BACK = "passw|secret|key|token|credential"
IN_CONFIGURATION = ("saml2.idp.metadata.url",)
# A full name, alone or in a URL.
HOST_NAME = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://)?(?:[^/@]*@)?([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)+)(?::\d+)?(?:[/?#].*)?", re.IGNORECASE
)


@dataclass(frozen=True)
class Scope:
    """Where a setting can have a value of its own: the table of details, its column, and the table and column that name the owner."""

    details: str
    column: str
    owners: str
    name: str = "name"

    @property
    def statement(self) -> str:
        """Asks for owner, name and value of every setting there. Names are compared as bytes: the tables' collations may differ."""
        return (
            f"SELECT o.`{self.name}` AS owner, d.name, d.value FROM cloud.`{self.details}` d JOIN cloud.`{self.owners}` o ON o.id = d.`{self.column}` "
            f"WHERE o.removed IS NULL AND d.name NOT REGEXP '{HELD_BACK}' AND CAST(d.name AS BINARY) NOT IN "
            "(SELECT CAST(c.name AS BINARY) FROM cloud.configuration c WHERE c.category IN ('Hidden', 'Secure'))"
        )


# [CloudStack ConfigKey.Scope and its DAOs]
SCOPES = {
    "domain": Scope("domain_details", "domain_id", "domain", "path"),
    "account": Scope("account_details", "account_id", "account", "account_name"),
    "zone": Scope("data_center_details", "dc_id", "data_center"),
    "cluster": Scope("cluster_details", "cluster_id", "cluster"),
    "primary storage": Scope("storage_pool_details", "pool_id", "storage_pool"),
    "secondary storage": Scope("image_store_details", "store_id", "image_store"),
}
QUERIES = {f"settings of a {scope}": found.statement for scope, found in SCOPES.items()}


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
