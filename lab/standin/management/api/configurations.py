"""Settings: listed, and changed - `host` among them, which every connected agent receives."""

from __future__ import annotations

import ipaddress

from ...shared.database import Row, utcnow
from .. import alerts
from ..configuration import ENCRYPTED
from .core import PARAM_ERROR, ApiError, Call, Response, command, invalid_value, present

#: Settings whose change is sent to the agents.
AGENT_SETTINGS = ("host", "indirect.agent.lb.algorithm", "indirect.agent.lb.check.interval")
#: Scopes: parameter, table of the object, table of its details, column of the object there.
SCOPES = (
    ("zoneid", "data_center", "data_center_details", "dc_id"),
    ("clusterid", "cluster", "cluster_details", "cluster_id"),
    ("accountid", "account", "account_details", "account_id"),
    ("domainid", "domain", "domain_details", "domain_id"),
    ("storageid", "storage_pool", "storage_pool_details", "pool_id"),
    ("imagestoreuuid", "image_store", "image_store_details", "store_id"),
)


def _scope(call: Call) -> tuple[str, str, int] | None:
    for parameter, table, details, column in SCOPES:
        if call.text(parameter):
            return details, column, call.find(table, parameter)["id"]
    return None


def _value(call: Call, row: Row) -> str | None:
    scope = _scope(call)
    if scope is not None:
        details, column, object_id = scope
        own = call.cloud.value(f"SELECT value FROM `{details}` WHERE `{column}` = %s AND name = %s", object_id, row["name"])
        if own is not None:
            return str(own)
    value = row["value"] if row["value"] is not None else row.get("default_value")
    return call.server.decrypt(value) if row["category"] in ENCRYPTED else value


def _setting(call: Call, row: Row) -> Response:
    group = call.look_up("configuration_group", row.get("group_id")) if call.cloud.has("configuration_group") else {}
    subgroup = call.look_up("configuration_subgroup", row.get("subgroup_id")) if call.cloud.has("configuration_subgroup") else {}
    return present(
        {
            "category": row["category"],
            "group": group.get("name"),
            "subgroup": subgroup.get("name"),
            "name": row["name"],
            "value": _value(call, row),
            "defaultvalue": row.get("default_value"),
            "description": row["description"],
            "isdynamic": bool(row["is_dynamic"]),
            "component": row["component"],
            "parent": row.get("parent"),
            "displaytext": row.get("display_text"),
            "type": row.get("kind") or "String",
            "options": row.get("options"),
        }
    )


@command("listConfigurations", admin=True)
def list_configurations(call: Call) -> Response:
    """Return the settings that are not hidden."""
    rows = call.cloud.rows("SELECT * FROM configuration WHERE category <> 'Hidden' ORDER BY name")
    wanted = call.text("name")
    return call.page(
        [
            _setting(call, row)
            for row in rows
            if wanted in ("", row["name"]) and call.text("category").lower() in ("", row["category"].lower()) and call.matches(row["name"])
        ],
        "configuration",
    )


@command("updateConfiguration", admin=True)
def update_configuration(call: Call) -> Response:
    """Change a setting, globally or for one object."""
    name = call.required("name")
    row = call.cloud.row("SELECT * FROM configuration WHERE name = %s", name)
    if row is None:
        raise ApiError(PARAM_ERROR, f"Config parameter with name {name} doesn't exist")
    value = call.text("value").strip()
    if name.endswith(".cidr.list"):
        _check_networks(call, value)
    scope = _scope(call)
    stored = call.server.encrypt(value) if row["category"] in ENCRYPTED else value
    if scope is not None:
        details, column, object_id = scope
        call.cloud.execute(f"DELETE FROM `{details}` WHERE `{column}` = %s AND name = %s", object_id, name)
        call.cloud.execute(f"INSERT INTO `{details}` (`{column}`, name, value) VALUES (%s, %s, %s)", object_id, name, stored)
    else:
        call.cloud.execute("UPDATE configuration SET value = %s, updated = %s WHERE name = %s", stored, utcnow(), name)
    alerts.add_event(
        call.server,
        "CONFIGURATION.VALUE.EDIT",
        f"Successfully completed updating configuration. Name: {name}",
        user_id=call.caller.user_id,
        account_id=call.caller.account_id,
        domain_id=call.caller.domain_id,
    )
    if name in AGENT_SETTINGS:
        call.agents.propagate_hosts()
    changed = call.cloud.row("SELECT * FROM configuration WHERE name = %s", name)
    assert changed is not None
    return {"configuration": _setting(call, changed)}


@command("resetConfiguration", admin=True)
def reset_configuration(call: Call) -> Response:
    """Take an object's own value of a setting away; a global one gets its default."""
    name = call.required("name")
    row = call.cloud.row("SELECT * FROM configuration WHERE name = %s", name)
    if row is None:
        raise ApiError(PARAM_ERROR, f"Config parameter with name {name} doesn't exist")
    scope = _scope(call)
    if scope is not None:
        details, column, object_id = scope
        call.cloud.execute(f"DELETE FROM `{details}` WHERE `{column}` = %s AND name = %s", object_id, name)
    else:
        call.cloud.execute("UPDATE configuration SET value = default_value, updated = %s WHERE name = %s", utcnow(), name)
    return {"configuration": _setting(call, row)}


def _check_networks(call: Call, value: str) -> None:
    for text in value.replace(" ", "").split(","):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ApiError(PARAM_ERROR, invalid_value(call.name, "value", value)) from None
