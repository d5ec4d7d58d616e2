"""Which alerts of the original are still open: neither good news, nor a fault that ended while the day went on.

CloudStack archives nothing by itself. An alert of a server or system VM that is back stays in the list, next to the one that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]
# [AlertManagerImpl's callers in CloudStack 4.20: ConsoleProxyAlertAdapter, SecondaryStorageVmAlertAdapter, ClusterAlertAdapter]
GOOD_NEWS = re.compile(r"\bup$|\bup in zone \[", re.IGNORECASE)
DEFAULT_WAS_SET = "Management network CIDR is not configured originally"
NO_DEFAULT = "Management network CIDR is not properly configured"
# What an alert is about: a zone, or a management server's address.
ABOUT = re.compile(r"in zone \[([^\]]*)\]|Management server node (\S+) is")


def still_open(rows: Iterable[Row], network: str) -> list[Row]:
    """The alerts that say something of now.

    Args:
        rows: name, subject and last (time) of each alert.
        network: the setting management.network.cidr, which ends an alert on the want of it.
    """
    known = list(rows)
    back: dict[tuple[str, str], Any] = {}
    for row in known:
        if GOOD_NEWS.search(str(row["subject"])):
            about = _about(row)
            back[about] = max(back.get(about, row["last"]), row["last"])
    return [row for row in known if not _settled(row, back, network)]


def _settled(row: Row, back: Mapping[tuple[str, str], Any], network: str) -> bool:
    subject = str(row["subject"])
    if GOOD_NEWS.search(subject) or DEFAULT_WAS_SET in subject or (network and NO_DEFAULT in subject):
        return True
    about = _about(row)
    return bool(about[1]) and about in back and back[about] >= row["last"]


def _about(row: Row) -> tuple[str, str]:
    found = ABOUT.search(str(row["subject"]))
    return str(row["name"]), (found[1] or found[2]) if found else ""
