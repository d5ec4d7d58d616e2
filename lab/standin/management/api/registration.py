"""Templates: registered and deleted."""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse
import uuid

from ...shared.database import Row, utcnow
from .. import alerts
from ..jobs import JobFailed
from ..templates import parse_checksum
from .core import INTERNAL_ERROR, PARAM_ERROR, ApiError, Call, Response, command, success
from .templates import entries_of

FORMATS = {"QCOW2": (".qcow2",), "VHD": (".vhd",), "OVA": (".ova",), "RAW": (".img", ".raw"), "VHDX": (".vhdx",), "TAR": (".tar", ".tgz")}
COMPRESSED = ("", ".zip", ".bz2", ".gz")
PORTS = (None, 80, 8080, 443)


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
    return call.page(entries_of(call, row), "template")


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

    return {"jobid": call.job("Template", row["id"], work)}
