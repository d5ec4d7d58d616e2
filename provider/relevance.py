"""What of a site a step's effect depends on: a change of anything else is stored, and is no diff."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from parallel_build.configuration import Phase
from parallel_build.resolved_stack import Site

# Hold points, local paths, limits and sizes: they say when, from where and how long, never what a step leaves behind.
# The rehearsal's step has what it depends on among its parameters.
IGNORED_SECTIONS = ("phase", "runs", "platforms", "acceptance", "health", "parity", "rehearsal", "routers")
IGNORED_KEYS = {
    "ssh": ("identityFile", "publicKeyFile", "configFile", "knownHosts", "connectTimeout"),
    "original": ("frontend",),
    "agents": ("upgrade",),  # the hosts are a parameter of the steps, and the limits count from then on
    "new": ("carry",),  # its step has it among its parameters
    "transfer": ("threads", "bytesPerSecond", "renew", "compareEverythingAfter"),
}
# How a side's API is called and checked; its ports are what a step closes or proves closed.
IGNORED_API_KEYS = ("timeout", "caFile", "serverName", "serverNames")
# Only guards ask for them.
IGNORED_DATABASE_KEYS = ("others",)
REACHING_DATABASES = ("admin",)  # how a side's database servers are logged in to
# Keys that a state of an earlier version does not have: as they are by default they are no change.
BY_DEFAULT: dict[str, dict[str, Any]] = {
    "original": {"usage": []}, "new": {"allInOne": False, "usage": True}, "transfer": {"seed": "auto"},
}  # fmt: skip
KEPT_KEYS = {"window": ("userAccess",)}
IGNORED_SECRETS = (
    "original_api_key", "original_api_secret", "originalApiKey", "originalApiSecret", "originalDatabasePassword", "newDatabasePassword",
    "vspherePassword",
)  # fmt: skip


def relevant(site: str) -> dict[str, Any]:
    """The part of a site's JSON text that two runs of a step must agree on to have left the same behind."""
    document: dict[str, Any] = json.loads(site)
    configuration = {
        section: _reduced(section, value) for section, value in document.get("configuration", {}).items() if section not in IGNORED_SECTIONS
    }
    secrets = {name: value for name, value in document.get("secrets", {}).items() if name not in IGNORED_SECRETS}
    # Its server comes and goes; no other step's work is on it.
    rehearsal = ((document.get("configuration", {}).get("rehearsal") or {}).get("machine") or {}).get("name")
    keys = {name: key for name, key in document.get("hostKeys", {}).items() if name != rehearsal}
    kept = {name: value for name, value in document.items() if name != "sealed"}
    return {**kept, "configuration": configuration, "secrets": secrets, "hostKeys": keys}


def _reduced(section: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if section in KEPT_KEYS:
        return {key: item for key, item in value.items() if key in KEPT_KEYS[section]}
    usual, missing = BY_DEFAULT.get(section, {}), object()
    kept = {key: item for key, item in value.items() if key not in IGNORED_KEYS.get(section, ()) and item != usual.get(key, missing)}
    if section in ("original", "new") and isinstance(kept.get("api"), dict):
        kept["api"] = {key: item for key, item in kept["api"].items() if key not in IGNORED_API_KEYS}
    if section in ("original", "new") and isinstance(kept.get("database"), dict):
        ignored = (*REACHING_DATABASES, *(IGNORED_DATABASE_KEYS if section == "original" else ()))
        kept["database"] = {key: item for key, item in kept["database"].items() if key not in ignored}
    return kept


def for_undo(stored: Site, newest: Site | None) -> Site:
    """The site an undo works on: what was built comes from the state, how to reach it and what is allowed now from the newest word.

    Args:
        stored: the site in the state of the resource that is deleted.
        newest: the site that the program of this very run has sent for other resources; None in a plain `pulumi destroy`.
    """
    if newest is None:
        # What the last `up` had as a hold point says nothing about this undo.
        window = stored.configuration.window.model_copy(update={"stop_before": None})
        return replace(stored, configuration=stored.configuration.model_copy(update={"window": window}))
    window = newest.configuration.window.model_copy(update={"user_access": stored.configuration.window.user_access})
    if newest.configuration.phase is not Phase.SWITCHED:
        window = window.model_copy(update={"stop_before": None})
    # How the servers' API and databases are logged in to belongs to how they are reached: a certificate or a password may be another by now.
    old, fresh = newest.configuration.original, newest.configuration.new
    old_pair = stored.configuration.original.database.model_copy(update={"admin": old.database.admin})
    new_pair = stored.configuration.new.database.model_copy(update={"admin": fresh.database.admin})
    # So does what turns the machines before the servers; what the window has turned is on record.
    original = stored.configuration.original.model_copy(update={"api": old.api, "database": old_pair, "frontend": old.frontend})
    new = stored.configuration.new.model_copy(update={"api": fresh.api, "database": new_pair})
    configuration = stored.configuration.model_copy(
        update={
            "window": window,
            "routers": newest.configuration.routers,
            "ssh": newest.configuration.ssh,
            "runs": newest.configuration.runs,
            "original": original,
            "new": new,
        }
    )
    secrets = stored.secrets.model_copy(
        update={
            "original_api_key": newest.secrets.original_api_key,
            "original_api_secret": newest.secrets.original_api_secret,
            "original_database_password": newest.secrets.original_database_password,
            "new_database_password": newest.secrets.new_database_password,
            "vsphere_password": newest.secrets.vsphere_password,
        }
    )
    return replace(stored, configuration=configuration, secrets=secrets)
