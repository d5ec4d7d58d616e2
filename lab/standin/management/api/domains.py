"""Domains."""

from __future__ import annotations

import uuid

from ...shared.database import Row, utcnow
from ..jobs import JobFailed
from .accounts import account_event, remove_account
from .common import domain_path
from .core import PARAM_ERROR, ApiError, Call, Response, command, present, success, when

ROOT_DOMAIN = 1


def _domain(call: Call, row: Row) -> Response:
    parent = call.look_up("domain", row["parent"])
    return present(
        {
            "id": row["uuid"],
            "name": row["name"],
            "level": row["level"],
            "parentdomainid": parent.get("uuid"),
            "parentdomainname": parent.get("name"),
            "haschild": bool(row["child_count"]),
            "networkdomain": row["network_domain"],
            "path": domain_path(call, row),
            "state": row["state"],
            "created": when(row["created"]),
            "secondarystoragetotal": 0.0,
            "hasannotations": False,
        }
    )


@command("listDomains")
def list_domains(call: Call) -> Response:
    """Return the domains that the caller can see."""
    rows = call.cloud.rows("SELECT * FROM domain WHERE removed IS NULL ORDER BY path, id")
    return call.page(
        [
            _domain(call, row)
            for row in rows
            if (
                row["path"].startswith(call.caller.domain_path)
                and call.text("id") in ("", row["uuid"])
                and call.text("name") in ("", row["name"])
                and call.matches(row["name"])
            )
        ],
        "domain",
    )


@command("createDomain", admin=True)
def create_domain(call: Call) -> Response:
    """Add a domain below its parent."""
    name = call.required("name")
    parent = call.maybe("domain", "parentdomainid") or call.look_up("domain", ROOT_DOMAIN)
    if call.cloud.value("SELECT id FROM domain WHERE parent = %s AND name = %s AND removed IS NULL", parent["id"], name):
        raise ApiError(PARAM_ERROR, f"Domain with name {name} already exists for the parent id={parent['id']}")
    domain_id = call.cloud.insert(
        "domain",
        parent=parent["id"],
        name=name,
        uuid=call.text("domainid") or str(uuid.uuid4()),
        owner=call.caller.account_id,
        path=f"{parent['path']}{name}/",
        level=parent["level"] + 1,
        child_count=0,
        next_child_seq=1,
        created=utcnow(),
        state="Active",
        network_domain=call.text("networkdomain") or None,
        type="Normal",
    )
    call.cloud.update("domain", parent["id"], child_count=parent["child_count"] + 1, next_child_seq=parent["next_child_seq"] + 1)
    row = call.cloud.row("SELECT * FROM domain WHERE id = %s", domain_id)
    assert row is not None
    account_event(call, "DOMAIN.CREATE", f"creating domain {name}", domain_id)
    return {"domain": _domain(call, row)}


@command("deleteDomain", admin=True)
def delete_domain(call: Call) -> Response:
    """Delete a domain that is empty, or with cleanup whatever is in it."""
    row = call.find("domain", "id")
    if row["id"] == ROOT_DOMAIN:
        raise ApiError(531, "Can't delete ROOT domain")

    def work() -> Response:
        accounts = call.cloud.rows("SELECT * FROM account WHERE domain_id = %s AND removed IS NULL", row["id"])
        children = call.cloud.value("SELECT COUNT(*) FROM domain WHERE parent = %s AND removed IS NULL", row["id"])
        if (accounts and not call.flag("cleanup")) or children:
            raise JobFailed(
                f"Failed to clean up domain resources and sub domains, delete failed on domain {row['name']} (id: {row['id']})."
            )
        for account in accounts:
            remove_account(call, account)
        call.cloud.update("domain", row["id"], removed=utcnow(), state="Inactive")
        call.cloud.execute("UPDATE domain SET child_count = child_count - 1 WHERE id = %s", row["parent"])
        account_event(call, "DOMAIN.DELETE", f"deleting domain {row['name']}", row["id"])
        return {"null": success()}

    return {"jobid": call.job("Domain", row["id"], work)}
