"""Templates, listed a zone at a time; and the kinds of guest operating systems."""

from __future__ import annotations

import re

from ...shared.database import Row
from .common import domain_path, owner
from .core import PARAM_ERROR, ApiError, Call, Response, command, present, when
from .topology import zone_names

FILTERS = ("featured", "self", "selfexecutable", "sharedexecutable", "executable", "community", "all")


def _status(store: Row) -> str | None:
    """Return the text about a download. [CloudStack 4.22 TemplateJoinDaoImpl.getTemplateStatus]"""
    if store["download_state"] == "DOWNLOADED":
        return "Download Complete"
    if store["download_state"] == "DOWNLOAD_IN_PROGRESS":
        return "Installing Template" if store["download_pct"] == 100 else f"{store['download_pct']}% Downloaded"
    return store["error_str"] or "Processing"


def entries_of(call: Call, row: Row) -> list[Response]:
    """Return a template as it is listed: once a zone."""
    stores = call.cloud.rows(
        "SELECT r.*, s.name AS store_name, s.uuid AS store_uuid, s.data_center_id FROM template_store_ref r "
        "LEFT JOIN image_store s ON s.id = r.store_id WHERE r.template_id = %s AND r.destroyed = 0 "
        "AND r.store_role = 'Image' ORDER BY r.id",
        row["id"],
    )
    zones = call.cloud.rows(
        "SELECT DISTINCT zone_id FROM template_zone_ref WHERE template_id = %s AND removed IS NULL ORDER BY zone_id", row["id"]
    )
    return [
        _entry(call, row, zone["zone_id"], [store for store in stores if store["data_center_id"] in (None, zone["zone_id"])])
        for zone in zones
    ]


def _entry(call: Call, row: Row, zone_id: int, stores: list[Row]) -> Response:
    store = stores[0] if stores else None
    ready = store is not None and store["state"] == "Ready" and store["download_state"] == "DOWNLOADED"
    guest_os = call.look_up("guest_os", row["guest_os_id"])
    values: Response = {
        "id": row["uuid"],
        "name": row["name"],
        "displaytext": row["display_text"],
        "ispublic": bool(row["public"]),
        "created": when(store["created"] if store else row["created"]),
        "isready": ready,
        "passwordenabled": bool(row["enable_password"]),
        "format": row["format"],
        "isfeatured": bool(row["featured"]),
        "crossZones": bool(row["cross_zones"]),
        "ostypeid": guest_os.get("uuid"),
        "ostypename": guest_os.get("display_name"),
        **{key: value for key, value in owner(call, {**row, "domain_id": None}).items() if key == "account"},
        **zone_names(call, zone_id),
        "status": _status(store) if store else None,
        "size": (store["size"] or None) if store else row["size"],
        "physicalsize": (store["physical_size"] or None) if store else None,
        "templatetype": row["type"],
        "hypervisor": row["hypervisor_type"],
        **_domain(call, row),
        "isextractable": bool(row["extractable"]),
        "checksum": row["checksum"],
        "details": _details(call, row),
        "downloaddetails": [_download(entry) for entry in stores] + _primary(call, row, zone_id),
        "arch": row["arch"],
        "bits": 0,
        "sshkeyenabled": bool(row["enable_sshkey"]),
        "isdynamicallyscalable": bool(row["dynamically_scalable"]),
        "directdownload": bool(row["direct_download"]),
        "deployasis": bool(row["deploy_as_is"]),
    }
    if call.server.is_new:
        values["forcks"] = bool(row.get("for_cks"))
    return present(values | {"requireshvm": bool(row["hvm"]), "url": row["url"], "tags": [], "hasannotations": False})


def _domain(call: Call, row: Row) -> Response:
    account = call.look_up("account", row["account_id"])
    domain = call.look_up("domain", account.get("domain_id"))
    return {"domain": domain.get("name"), "domainpath": domain_path(call, domain), "domainid": domain.get("uuid")}


def _details(call: Call, row: Row) -> Response:
    if not call.cloud.has("vm_template_details"):
        return {}
    return {
        entry["name"]: entry["value"]
        for entry in call.cloud.rows("SELECT name, value FROM vm_template_details WHERE template_id = %s", row["id"])
    }


def _download(store: Row) -> Response:
    return present(
        {
            "downloadState": store["download_state"],
            "datastore": store["store_name"],
            "datastoreRole": store["store_role"],
            "downloadPercent": str(store["download_pct"] or 0),
            "datastoreId": store["store_uuid"],
        }
    )


def _primary(call: Call, row: Row, zone_id: int) -> list[Response]:
    if not call.cloud.has("template_spool_ref"):
        return []
    return [
        present(
            {
                "downloadState": entry["download_state"],
                "datastore": entry["name"],
                "datastoreRole": "Primary",
                "downloadPercent": str(entry["download_pct"] or 0),
                "datastoreId": entry["uuid"],
            }
        )
        for entry in call.cloud.rows(
            "SELECT t.*, p.name, p.uuid FROM template_spool_ref t JOIN storage_pool p ON p.id = t.pool_id "
            "WHERE t.template_id = %s AND p.data_center_id = %s ORDER BY t.id",
            row["id"],
            zone_id,
        )
    ]


def _visible(call: Call, row: Row, chosen: str) -> bool:
    if chosen == "all":
        return call.caller.is_admin
    if chosen == "featured":
        return bool(row["featured"] and row["public"])
    if chosen == "community":
        return bool(row["public"] and not row["featured"])
    if chosen in ("self", "selfexecutable"):
        return bool(row["account_id"] == call.caller.account_id)
    return bool(row["public"] or row["account_id"] == call.caller.account_id)


@command("listTemplates")
def list_templates(call: Call) -> Response:
    """Return templates, each once a zone."""
    chosen = call.required("templatefilter")
    if chosen not in FILTERS:
        raise ApiError(PARAM_ERROR, f"Please specify a valid template filter {chosen}")
    zone = call.maybe("data_center", "zoneid")
    # Only templates of hypervisors that the cloud has are shown.
    rows = call.cloud.rows(
        "SELECT * FROM vm_template WHERE removed IS NULL AND format <> 'ISO' AND (hypervisor_type = 'Any' OR "
        "hypervisor_type IN (SELECT hypervisor_type FROM cluster WHERE removed IS NULL)) ORDER BY id"
    )
    entries: list[Response] = []
    for row in rows:
        if (
            call.text("id") not in ("", row["uuid"])
            or call.text("name") not in ("", row["name"])
            or call.text("hypervisor").lower() not in ("", row["hypervisor_type"].lower())
            or call.text("templatetype").lower() not in ("", (row["type"] or "").lower())
            or not call.matches(row["name"])
            or not _visible(call, row, chosen)
        ):
            continue
        entries += [
            entry
            for entry in entries_of(call, row)
            if (zone is None or entry["zoneid"] == zone["uuid"]) and (not call.text("isready") or call.flag("isready") == entry["isready"])
        ]
    return call.page(entries, "template")


@command("listOsTypes")
def list_os_types(call: Call) -> Response:
    """Return the guest operating systems."""
    rows = call.cloud.rows(
        "SELECT g.*, c.uuid AS category_uuid, c.name AS category_name FROM guest_os g "
        "LEFT JOIN guest_os_category c ON c.id = g.category_id WHERE g.removed IS NULL ORDER BY g.id"
    )
    described = re.compile(re.escape(call.text("description")), re.IGNORECASE)
    return call.page(
        [
            present(
                {
                    "id": row["uuid"],
                    "name": row["display_name"],
                    "oscategoryid": row["category_uuid"],
                    "oscategoryname": row["category_name"],
                    "description": row["display_name"],
                    "isuserdefined": bool(row["is_user_defined"]),
                    "fordisplay": bool(row["display"]),
                }
            )
            for row in rows
            if call.text("id") in ("", row["uuid"]) and described.search(row["display_name"]) and call.matches(row["display_name"])
        ],
        "ostype",
    )
