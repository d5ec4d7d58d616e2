"""Faults: settings of the stand-in CloudStack on one machine, which make it slow or fail; see docs/start/lab.md."""

from __future__ import annotations

import json
from typing import Any

from lab.errors import LabError
from lab.hosts import Sessions
from lab.machines import Machine

PATH = "/etc/cloudstack/standin.json"


def read(opened: Sessions, machine: Machine) -> dict[str, Any]:
    """The settings on a machine."""
    content = opened[machine].read(PATH)
    found: dict[str, Any] = json.loads(content) if content else {}
    return found


def change(opened: Sessions, machine: Machine, key: str, value: str | None) -> dict[str, Any]:
    """Set one setting, or remove it (None); what is set afterwards.

    Args:
        value: JSON where it is that (`5`, `true`, `["a"]`), else a text.
    """
    found = read(opened, machine)
    if value is None:
        if key not in found:
            raise LabError(f"{machine.name} has no fault {key}", f"set are: {', '.join(found) or 'none'}", "")
        del found[key]
    else:
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    opened[machine].run(["mkdir", "-p", "/etc/cloudstack"], timeout=30)
    opened[machine].write(PATH, json.dumps(found, indent=1) + "\n", mode=0o644)
    return found
