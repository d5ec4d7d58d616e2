"""What operators make of a stack file in the middle of a window, on the lab's own stack file."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import yaml

from lab import stack
from lab.files import Lab
from tools.cache import write_atomically

Section = Callable[[str], Any]


def make(lab: Lab, edited: str) -> str:
    """Make an edit; what it is, in words.

    Args:
        edited: the cell's fault, `edited-WHAT`.
    """
    what = edited.removeprefix("edited-")
    if what in ("password", "key"):
        name = {"password": "cloudPassword", "key": "managementKey"}[what]
        stack.configure_secret(lab, name, secrets.token_hex(12))
        return f"{name} changed"
    document = yaml.safe_load(lab.stack_file.read_text())

    def section(name: str) -> Any:
        return document["config"][f"{stack.PROJECT_NAME}:{name}"]

    words = EDITS[what](section)
    write_atomically(lab.stack_file, yaml.safe_dump(document, sort_keys=False), 0o600)
    return words


def _renamed(section: Section) -> str:
    section("new")["management"][-1]["name"] = "newms9"
    return "newms2 is called newms9"


def _removed(section: Section) -> str:
    section("new")["management"].pop()
    return "newms2 is taken out"


def _added(section: Section) -> str:
    section("original")["management"].append({"name": "oldms3", "address": "10.91.0.15"})
    return "oldms3 is added, which is not there"


def _transfer(section: Section) -> str:
    transfer = section("transfer")
    transfer["method"] = "replicate" if transfer["method"] == "dump" else "dump"
    return f"transfer.method is {transfer['method']}"


def _hypervisor_step(section: Section) -> str:
    section("hypervisorSteps").insert(0, {"hosts": ["kvm1"], "command": ["true"], "reverse": ["true"]})
    return "a hypervisor step is inserted before the others"


EDITS: dict[str, Callable[[Section], str]] = {
    "renamed": _renamed,
    "removed": _removed,
    "added": _added,
    "transfer": _transfer,
    "hypervisor-step": _hypervisor_step,
}
