"""Alerts and events."""

from __future__ import annotations

from .common import domain_path
from .core import Call, Response, command, present, when

TABLES = {
    "VirtualMachine": "vm_instance",
    "SystemVm": "vm_instance",
    "DomainRouter": "vm_instance",
    "Network": "networks",
    "Volume": "volumes",
    "Snapshot": "snapshots",
    "Template": "vm_template",
    "Domain": "domain",
    "Account": "account",
    "User": "user",
    "Vpc": "vpc",
    "Host": "host",
}


@command("listAlerts", admin=True)
def list_alerts(call: Call) -> Response:
    """Return the alerts, newest first."""
    rows = call.cloud.rows("SELECT * FROM alert WHERE archived = 0 ORDER BY last_sent DESC, id DESC")
    return call.page(
        [
            present(
                {"id": row["uuid"], "type": row["type"], "name": row["name"], "description": row["subject"], "sent": when(row["last_sent"])}
            )
            for row in rows
            if call.text("id") in ("", row["uuid"])
            and call.text("name") in ("", row["name"])
            and call.text("type") in ("", str(row["type"]))
            and call.matches(row["subject"])
        ],
        "alert",
    )


@command("listEvents")
def list_events(call: Call) -> Response:
    """Return the events of an account, or of all for an admin, newest first."""
    mine = "" if call.caller.is_admin and call.flag("listall", True) else f" AND e.account_id = {call.caller.account_id}"
    start = call.text("startdate")
    rows = call.cloud.rows(
        "SELECT e.*, u.username, a.account_name, a.type AS account_type, d.uuid AS domain_uuid, d.name AS domain_name, "
        "d.path AS domain_path, s.uuid AS start_uuid FROM event e JOIN user u ON u.id = e.user_id "
        "JOIN account a ON a.id = e.account_id JOIN domain d ON d.id = e.domain_id "
        "LEFT JOIN event s ON s.id = e.start_id AND e.start_id > 0 "
        f"WHERE e.archived = 0 AND e.display = 1{mine} AND e.created >= %s ORDER BY e.created DESC, e.id DESC LIMIT 2000",
        start or "1970-01-01",
    )
    entries = []
    for row in rows:
        if (
            call.text("id") not in ("", row["uuid"])
            or call.text("type") not in ("", row["type"])
            or call.text("level").upper() not in ("", row["level"].upper())
            or not call.matches(row["description"])
        ):
            continue
        resource = call.look_up(TABLES[row["resource_type"]], row["resource_id"]) if row["resource_type"] in TABLES else {}
        entries.append(
            present(
                {
                    "id": row["uuid"],
                    "username": row["username"],
                    "type": row["type"],
                    "level": row["level"],
                    "description": row["description"],
                    "account": row["account_name"],
                    "domainid": row["domain_uuid"],
                    "domain": row["domain_name"],
                    "domainpath": domain_path(call, {"path": row["domain_path"]}),
                    "resourceid": resource.get("uuid"),
                    "resourcetype": row["resource_type"] if resource else None,
                    "resourcename": resource.get("name") or resource.get("account_name") or resource.get("username"),
                    "created": when(row["created"]),
                    "state": row["state"],
                    "parentid": row["start_uuid"],
                }
            )
        )
    return call.page(entries, "event")
