"""Delays and planted faults of the stand-in, read from /etc/cloudstack/standin.json (see README.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from . import paths


class SettingsError(Exception):
    """standin.json can't be used; says which key and why."""


@dataclass(frozen=True)
class Settings:
    """All settings with their defaults. Times are seconds."""

    # How a management server starts.
    start_seconds: float = 0.6
    components_seconds: float = 0.8
    step_seconds: dict[str, float] = field(default_factory=dict)
    views_seconds: float = 0.0
    fail_step: str = ""
    fail_modules: list[str] = field(default_factory=list)
    exit_seconds: float = 0.3

    # What a running management server does in which rhythm.
    heartbeat_seconds: float = 1.5
    scan_seconds: float = 2.0
    ping_seconds: float = 2.0
    ping_timeout_seconds: float = 8.0
    agent_lost_seconds: float = 2.0
    missing_vm_grace_seconds: float = 10.0
    direct_connect_seconds: float = 2.0
    statistics_seconds: float = 10.0
    call_seconds: float = 0.0
    job_seconds: float = 0.2
    restart_seconds: float = 1.0

    # Planted faults of a management server.
    template_download_fails: str = ""
    template_bytes_per_second: int = 0
    routers_fail: bool = False
    restart_fails: list[str] = field(default_factory=list)
    live_patch_fails: list[str] = field(default_factory=list)
    system_vms_fail: bool = False

    # The agent of a hypervisor host.
    agent_backoff_seconds: float = 5.0
    agent_ignores_host_list: bool = False
    agent_refuses_to_connect: bool = False
    boot_system_vms: bool = True
    vm_start_seconds: float = 0.2

    # The usage server.
    usage_heartbeat_seconds: float = 5.0


def load(path: Path = paths.SETTINGS) -> Settings:
    """Read the settings of this host; the defaults where there is no file.

    Raises SettingsError for a key that does not exist: a planted fault that does not take effect is worse than none.
    """
    if not path.exists():
        return Settings()
    try:
        given = json.loads(path.read_text())
    except ValueError as cause:
        raise SettingsError(f"{path} is not JSON: {cause}. Correct it or remove it.") from cause
    known = {entry.name for entry in fields(Settings)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise SettingsError(f"{path} has the unknown setting {unknown[0]}. Known are: {', '.join(sorted(known))}.")
    return Settings(**given)
