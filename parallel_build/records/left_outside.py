"""What the last health check of this machine's run folder has found outside the database: for the reader of a plan."""

from __future__ import annotations

import json

from parallel_build.configuration import StackConfiguration

RULES = (
    "files_come_from_packages", "properties_are_on_new_servers", "java_trusts_the_same", "paths_in_settings_are_there",
    "settings_name_old_servers",
)  # fmt: skip


def left_by_health(configuration: StackConfiguration, stack: str) -> list[str]:
    """Each finding, as it was before anything of `new.carry` was carried, or is left since; contacts nothing."""
    path = configuration.runs / stack / "evidence" / "HealthCheck.json"
    try:
        found = json.loads(path.read_text())["result"]["findings"]
        facts = [str(each["fact"]) for each in found if each["rule"] in RULES]
    except (OSError, ValueError, KeyError, TypeError):
        return ["left behind: not known here yet; step HealthCheck lists it in evidence/health.txt"]
    return [f"left behind by the last health check: {fact}" for fact in facts] or ["left behind by the last health check: nothing"]
