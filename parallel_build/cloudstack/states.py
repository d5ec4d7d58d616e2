"""The states in which CloudStack's objects rest: one list for guards, health rules and steps alike.

A state that is in no list counts as one of transition, so that what a later release adds is waited for and not cut off.
[CloudStack 4.20 VirtualMachine.java, Volume.java]
"""

from __future__ import annotations

from collections.abc import Collection

VM_AT_REST = ("Running", "Stopped", "Destroyed", "Expunging", "Error", "Shutdown", "Unknown")
# Uploaded is final until the volume is attached or deleted [CloudStack issue 8752].
VOLUME_AT_REST = (
    "Ready", "Allocated", "Destroy", "Destroyed", "Expunging", "Expunged", "Uploaded", "NotUploaded", "UploadError", "UploadAbandoned",
)  # fmt: skip
# A system VM or router in one of these is on its way out or never came: nothing that could be renewed.
GONE = ("Destroyed", "Expunging", "Error")
# An upload that has not ended within a day never will: CloudStack gives it minutes [upload.operation.timeout], and nobody can wait for it.
VOLUME_UPLOADING = ("UploadOp", "UploadInProgress")
UPLOADS_END_WITHIN = "1 DAY"


def _listed(states: Collection[str]) -> str:
    return ", ".join(f"'{state}'" for state in states)


VM_MOVING = f"state NOT IN ({_listed(VM_AT_REST)})"
VOLUME_MOVING = (
    f"state NOT IN ({_listed(VOLUME_AT_REST)}) AND NOT (state IN ({_listed(VOLUME_UPLOADING)}) "
    f"AND COALESCE(updated, created) < UTC_TIMESTAMP() - INTERVAL {UPLOADS_END_WITHIN})"
)
