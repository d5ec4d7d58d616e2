"""Tags of VMs, networks, disks, addresses, rules and groups."""

from __future__ import annotations

import uuid

from ...shared.database import Row
from ..jobs import JobFailed
from .common import domain_path, visible
from .core import PARAM_ERROR, ApiError, Call, Response, command, present, success

TABLES = {
    "UserVm": "vm_instance", "Network": "networks", "Vpc": "vpc", "Volume": "volumes", "Snapshot": "snapshots", "SecurityGroup": "security_group",
    "PublicIpAddress": "user_ip_address", "FirewallRule": "firewall_rules", "PortForwardingRule": "firewall_rules", "LoadBalancer": "firewall_rules",
}  # fmt: skip


def _tagged(call: Call) -> tuple[str, list[Row]]:
    """The kind and the rows that a call names."""
    kind = next((name for name in TABLES if name.lower() == call.required("resourcetype").lower()), "")
    if not kind or not call.cloud.has("resource_tags"):
        raise ApiError(PARAM_ERROR, f"Invalid resource type: {call.text('resourcetype')}")
    rows = []
    for identity in call.listed("resourceids"):
        living = " AND removed IS NULL" if "removed" in call.cloud.columns(TABLES[kind]) else ""
        row = call.cloud.row(f"SELECT * FROM `{TABLES[kind]}` WHERE uuid = %s{living}", identity)
        if row is None:
            raise ApiError(PARAM_ERROR, f"Unable to find resource by id {identity} and type {kind}")
        rows.append(row)
    return kind, rows


def _given(call: Call) -> dict[str, str]:
    found: dict[str, str] = {}
    number = 0
    while f"tags[{number}].key" in call.parameters:
        found[call.parameters[f"tags[{number}].key"]] = call.parameters.get(f"tags[{number}].value", "")
        number += 1
    return found


@command("createTags")
def create_tags(call: Call) -> Response:
    """Tag some things; one that is tagged already is an error, as it is there."""
    kind, rows = _tagged(call)
    tags = _given(call)

    def work() -> Response:
        for row in rows:
            for key, value in tags.items():
                if call.cloud.value("SELECT id FROM resource_tags WHERE resource_uuid = %s AND `key` = %s", row["uuid"], key):
                    raise JobFailed(f"tag {key} already on {row['uuid']} with type {kind}")
                call.cloud.insert(
                    "resource_tags", uuid=str(uuid.uuid4()), key=key, value=value, resource_id=row["id"], resource_uuid=row["uuid"],
                    resource_type=kind, domain_id=row["domain_id"], account_id=row["account_id"],
                )  # fmt: skip
        return success()

    return {"jobid": call.job(kind, rows[0]["id"], work)}


@command("listTags")
def list_tags(call: Call) -> Response:
    """Return tags by key and kind."""
    rows = call.cloud.rows("SELECT * FROM resource_tags ORDER BY id") if call.cloud.has("resource_tags") else []
    key, kind = call.text("key"), call.text("resourcetype").lower()
    return call.page(
        [_tag(call, row) for row in visible(call, rows) if key in ("", row["key"]) and kind in ("", str(row["resource_type"]).lower())],
        "tag",
    )


def _tag(call: Call, row: Row) -> Response:
    account, domain = call.look_up("account", row["account_id"]), call.look_up("domain", row["domain_id"])
    return present(
        {
            "key": row["key"],
            "value": row["value"],
            "resourcetype": row["resource_type"],
            "resourceid": row["resource_uuid"],
            "account": account.get("account_name"),
            "domainid": domain.get("uuid"),
            "domain": domain.get("name"),
            "domainpath": domain_path(call, domain),
        }
    )
