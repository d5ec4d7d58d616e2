"""Templates: listed a zone at a time, registered, deleted; and the kinds of guest operating systems."""

from __future__ import annotations

import ipaddress
import re
import socket
import urllib.parse
import uuid

from ...shared.database import Row, utcnow
from .. import alerts
from ..jobs import JobFailed
from ..templates import parse_checksum
from .common import domain_path, owner
from .core import INTERNAL_ERROR, PARAM_ERROR, ApiError, Call, Response, command, present, success, when
from .topology import zone_names

FILTERS = ("featured", "self", "selfexecutable", "sharedexecutable", "executable", "community", "all")
FORMATS = {"QCOW2": (".qcow2",), "VHD": (".vhd",), "OVA": (".ova",), "RAW": (".img", ".raw"), "VHDX": (".vhdx",), "TAR": (".tar", ".tgz")}
COMPRESSED = ("", ".zip", ".bz2", ".gz")
PORTS = (None, 80, 8080, 443)
SYSTEM_ACCOUNT = 1


def _status(store: Row) -> str | None:
    """Return the text about a download. [CloudStack 4.22 TemplateJoinDaoImpl.getTemplateStatus]"""
    if store["download_state"] == "DOWNLOADED":
        return "Download Complete"
    if store["download_state"] == "DOWNLOAD_IN_PROGRESS":
        return "Installing Template" if store["download_pct"] == 100 else f"{store['download_pct']}% Downloaded"
    return store["error_str"] or "Processing"


def _entries(call: Call, row: Row) -> list[Response]:
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
            for entry in _entries(call, row)
            if (zone is None or entry["zoneid"] == zone["uuid"]) and (not call.text("isready") or call.flag("isready") == entry["isready"])
        ]
    return call.page(entries, "template")


def _check_url(url: str, kind: str) -> None:
    """Refuse what the real server refuses of a URL. [CloudStack 4.22 utils/UriUtils.validateUrl, checkFormat]"""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme.lower() not in ("http", "https"):
        raise ApiError(INTERNAL_ERROR, f"Unsupported scheme for url: {url}")
    if parts.port not in PORTS:
        raise ApiError(INTERNAL_ERROR, "Only ports 80, 8080 and 443 are allowed")
    try:
        address = ipaddress.ip_address(socket.gethostbyname(parts.hostname or ""))
    except (OSError, ValueError):
        raise ApiError(INTERNAL_ERROR, f"Unable to resolve {parts.hostname}") from None
    if address.is_unspecified or address.is_link_local or address.is_loopback or address.is_multicast:
        raise ApiError(INTERNAL_ERROR, "Illegal host specified in url")
    endings = tuple(ending + packed for ending in FORMATS[kind] for packed in COMPRESSED)
    if not parts.path.lower().endswith(endings):
        raise ApiError(INTERNAL_ERROR, f"Please specify a valid {kind.lower()}")


def _zones(call: Call) -> list[Row]:
    wanted = call.listed("zoneids") or call.listed("zoneid")
    if wanted in ([], ["-1"]):
        if not wanted:
            raise ApiError(PARAM_ERROR, "Please specify either zoneid or zoneids")
        return call.cloud.rows("SELECT * FROM data_center WHERE removed IS NULL ORDER BY id")
    found = []
    for value in wanted:
        row = call.cloud.row("SELECT * FROM data_center WHERE uuid = %s AND removed IS NULL", value)
        if row is None:
            raise ApiError(PARAM_ERROR, f"Unable to find zone by ID: {value}")
        found.append(row)
    return found


@command("registerTemplate")
def register_template(call: Call) -> Response:
    """Add a template to zones; its download begins by itself."""
    name, url = call.required("name"), call.required("url")
    hypervisor, kind = call.required("hypervisor"), call.required("format").upper()
    if kind not in FORMATS:
        raise ApiError(PARAM_ERROR, f"Image format is incorrect {call.text('format')}. Supported formats are " + ", ".join(FORMATS))
    if call.text("isrouting") and not call.caller.is_admin:
        raise ApiError(531, "Parameter isrouting can only be specified by a Root Admin, permission denied")
    checksum = call.text("checksum").strip()
    if checksum and not parse_checksum(checksum)[0]:
        raise ApiError(PARAM_ERROR, f"Checksum is invalid: {checksum}")
    zones = _zones(call)
    _check_url(url, kind)
    guest_os = call.maybe("guest_os", "ostypeid") or call.cloud.row("SELECT * FROM guest_os ORDER BY id LIMIT 1") or {}
    now = utcnow()
    everywhere = call.text("zoneid") == "-1" or call.text("zoneids") == "-1"
    with call.cloud.transaction():
        template_id = call.cloud.insert(
            "vm_template",
            unique_name="",
            name=name,
            uuid=str(uuid.uuid4()),
            public=int(call.flag("ispublic")),
            featured=int(call.flag("isfeatured")),
            type="ROUTING" if call.flag("isrouting") else "USER",
            hvm=int(call.flag("requireshvm", True)),
            bits=call.number("bits", 64),
            url=url,
            format=kind,
            created=now,
            account_id=call.caller.account_id,
            checksum=checksum or None,
            display_text=call.text("displaytext", name),
            enable_password=int(call.flag("passwordenabled")),
            enable_sshkey=int(call.flag("sshkeyenabled")),
            guest_os_id=guest_os.get("id", 0),
            bootable=1,
            prepopulate=0,
            cross_zones=int(everywhere),
            extractable=int(call.flag("isextractable")),
            hypervisor_type=_hypervisor(hypervisor),
            sort_key=0,
            state="Active",
            update_count=0,
            dynamically_scalable=int(call.flag("isdynamicallyscalable")),
            direct_download=int(call.flag("directdownload")),
            deploy_as_is=0,
            arch=call.text("arch", "x86_64"),
            for_cks=0,
        )
        call.cloud.update(
            "vm_template", template_id, unique_name=f"{template_id}-{call.caller.account_id}-{uuid.uuid5(uuid.NAMESPACE_URL, name)}"
        )
        for zone in zones:
            call.cloud.insert("template_zone_ref", zone_id=zone["id"], template_id=template_id, created=now, last_updated=now)
            _add_to_store(call, zone, template_id, url)
    row = call.cloud.row("SELECT * FROM vm_template WHERE id = %s", template_id)
    assert row is not None
    alerts.add_event(
        call.server,
        "TEMPLATE.CREATE",
        f"Successfully completed creating template {name}",
        user_id=call.caller.user_id,
        account_id=call.caller.account_id,
        domain_id=call.caller.domain_id,
        resource_id=template_id,
        resource_type="Template",
    )
    return call.page(_entries(call, row), "template")


def _add_to_store(call: Call, zone: Row, template_id: int, url: str) -> None:
    stores = call.cloud.rows(
        "SELECT * FROM image_store WHERE removed IS NULL AND role = 'Image' AND readonly = 0 "
        "AND (data_center_id = %s OR scope = 'REGION') ORDER BY id LIMIT 1",
        zone["id"],
    )
    if not stores:
        raise ApiError(INTERNAL_ERROR, f"Unable to find image store to download template {template_id} in zone {zone['name']}")
    for store in stores:
        call.cloud.insert(
            "template_store_ref",
            store_id=store["id"],
            template_id=template_id,
            created=utcnow(),
            last_updated=utcnow(),
            download_pct=0,
            size=0,
            physical_size=0,
            store_role="Image",
            download_state="NOT_DOWNLOADED",
            url=url,
            state="Creating",
            destroyed=0,
            is_copy=0,
            update_count=0,
            ref_cnt=0,
            updated=utcnow(),
            job_id=str(uuid.uuid4()),
        )


def _hypervisor(name: str) -> str:
    known = {
        entry.lower(): entry for entry in ("KVM", "XenServer", "VMware", "Hyperv", "LXC", "Ovm3", "Simulator", "BareMetal", "Any", "Custom")
    }
    if name.lower() not in known:
        raise ApiError(PARAM_ERROR, f"Hypervisor type {name} is invalid. Supported Hypervisor types are " + ", ".join(known.values()))
    return known[name.lower()]


@command("deleteTemplate")
def delete_template(call: Call) -> Response:
    """Delete a template in all zones or in one; refused while VMs use it."""
    row = call.find("vm_template", "id")
    zone = call.maybe("data_center", "zoneid")
    if not call.caller.is_admin and row["account_id"] != call.caller.account_id:
        raise ApiError(531, f"Caller does not have permission to operate with provided resource Template {row['uuid']}")
    if row["type"] == "SYSTEM":
        raise ApiError(PARAM_ERROR, f"The Template {row['name']} cannot be deleted: it is a System Template")
    used = call.cloud.rows("SELECT name FROM vm_instance WHERE vm_template_id = %s AND removed IS NULL LIMIT 20", row["id"])
    if used and not call.flag("forced"):
        names = ", ".join(entry["name"] for entry in used)
        raise ApiError(INTERNAL_ERROR, f"Unable to delete Template {row['name']}: VMs are using it: {names}")

    def work() -> Response:
        if row["removed"] is not None:
            raise JobFailed(f"Template {row['name']} is removed already")
        now = utcnow()
        only = (" AND zone_id = %s", (zone["id"],)) if zone else ("", ())
        with call.cloud.transaction():
            call.cloud.execute(
                f"UPDATE template_zone_ref SET removed = %s WHERE template_id = %s AND removed IS NULL{only[0]}", now, row["id"], *only[1]
            )
            left = call.cloud.value("SELECT COUNT(*) FROM template_zone_ref WHERE template_id = %s AND removed IS NULL", row["id"])
            if not left:
                call.cloud.execute(
                    "UPDATE template_store_ref SET destroyed = 1, state = 'Destroyed', updated = %s WHERE template_id = %s", now, row["id"]
                )
                call.cloud.update("vm_template", row["id"], removed=now, state="Inactive")
        alerts.add_event(
            call.server,
            "TEMPLATE.DELETE",
            f"Successfully completed deleting template {row['name']}",
            user_id=call.caller.user_id,
            resource_id=row["id"],
            resource_type="Template",
        )
        return {"null": success()}

    return {"jobid": call.jobs.submit(call.name, call.parameters, call.caller.user_id, call.caller.account_id, "Template", row["id"], work)}


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
