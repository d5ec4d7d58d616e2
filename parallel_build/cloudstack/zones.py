"""Which zones have system VMs of their own: CloudStack looks after them in zones that are enabled and no Edge zones.

Elsewhere a system VM that is destroyed gets no successor, no template is downloaded, and secondary storage need not be there
[CloudStack SystemVmLoadScanner.java, listEnabledNonEdgeZoneIds; issue 6044, pull request 6840].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Item = Mapping[str, Any]
EDGE = "an Edge zone"


def kept(zone: Item) -> bool:
    """Whether CloudStack keeps system VMs in a zone: an item of listZones, or a row of data_center."""
    return not without(zone)


def without(zone: Item) -> str:
    """Why CloudStack keeps no system VMs in a zone: `Disabled`, `an Edge zone`, or "" where it does.

    Versions before 4.18 know no Edge zones and give no type.
    """
    if str(zone.get("type") or "Core") == "Edge":
        return EDGE
    state = str(zone.get("allocationstate") or zone.get("allocation_state") or "Enabled")
    return "" if state == "Enabled" else state


def left_alone(zones: Iterable[Item]) -> dict[str, str]:
    """The zones whose system VMs nobody would bring back, by name, and why."""
    return {str(zone["name"]): why for zone in zones if (why := without(zone))}
