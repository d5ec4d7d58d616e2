"""What accounts have besides machines and networks: SSH key pairs, security groups and affinity groups."""

from __future__ import annotations

import base64
import binascii
import hashlib
import uuid

from ...shared.database import Row
from .common import named_job, new_owner, owner, visible
from .core import PARAM_ERROR, ApiError, Call, Response, command, present

ICMP = "icmp"


def _free(call: Call, table: str, column: str, name: str, account: int, what: str) -> None:
    if call.cloud.value(f"SELECT id FROM `{table}` WHERE account_id = %s AND `{column}` = %s", account, name):
        raise ApiError(PARAM_ERROR, f"A {what} with name '{name}' already exists for this account.")


@command("registerSSHKeyPair")
def register_key_pair(call: Call) -> Response:
    """Add a public key."""
    name, key = call.required("name"), call.required("publickey")
    account_id, domain_id = new_owner(call)
    _free(call, "ssh_keypairs", "keypair_name", name, account_id, "key pair")
    try:
        digest = hashlib.md5(base64.b64decode(key.split()[1] + "==")).hexdigest()  # noqa: S324 - what OpenSSH calls a fingerprint
    except (IndexError, binascii.Error):
        raise ApiError(PARAM_ERROR, f"Public key is invalid: {key[:20]}") from None
    fingerprint = ":".join(digest[place : place + 2] for place in range(0, 32, 2))
    identity = call.cloud.insert(
        "ssh_keypairs", uuid=str(uuid.uuid4()), account_id=account_id, domain_id=domain_id, keypair_name=name, fingerprint=fingerprint,
        public_key=key,
    )  # fmt: skip
    return {"keypair": _key_pair(call, call.there("ssh_keypairs", identity))}


@command("listSSHKeyPairs")
def list_key_pairs(call: Call) -> Response:
    """Return key pairs by name and owner."""
    rows = visible(call, call.cloud.rows("SELECT * FROM ssh_keypairs ORDER BY id"))
    return call.page([_key_pair(call, row) for row in rows if call.text("name") in ("", row["keypair_name"])], "sshkeypair")


def _key_pair(call: Call, row: Row) -> Response:
    return present({"id": row["uuid"], "name": row["keypair_name"], **owner(call, row), "fingerprint": row["fingerprint"]})


@command("createAffinityGroup")
def create_affinity_group(call: Call) -> Response:
    """Add an affinity group; a job, as there."""
    name, account_and_domain = call.required("name"), new_owner(call)
    _free(call, "affinity_group", "name", name, account_and_domain[0], "affinity group")
    identity = call.cloud.insert(
        "affinity_group", uuid=str(uuid.uuid4()), name=name, type=call.required("type"), description=call.text("description") or None,
        account_id=account_and_domain[0], domain_id=account_and_domain[1], acl_type="Account",
    )  # fmt: skip
    return named_job(call, "affinitygroup", lambda: _affinity_group(call, call.there("affinity_group", identity)))


@command("listAffinityGroups")
def list_affinity_groups(call: Call) -> Response:
    """Return affinity groups."""
    rows = visible(call, call.cloud.rows("SELECT * FROM affinity_group ORDER BY id"))
    return call.page([_affinity_group(call, row) for row in rows if call.text("name") in ("", row["name"])], "affinitygroup")


@command("deleteAffinityGroup")
def delete_affinity_group(call: Call) -> Response:
    """Remove an affinity group."""
    row = call.find("affinity_group", "id")

    def work() -> Response:
        call.cloud.execute("DELETE FROM affinity_group WHERE id = %s", row["id"])
        return {"success": True}

    return named_job(call, "null", work)


def _affinity_group(call: Call, row: Row) -> Response:
    return present(
        {
            "id": row["uuid"],
            "name": row["name"],
            "description": row["description"],
            **owner(call, row),
            "type": row["type"],
            "virtualmachineIds": [],
        }
    )


@command("createSecurityGroup")
def create_security_group(call: Call) -> Response:
    """Add a security group without rules."""
    name, account_and_domain = call.required("name"), new_owner(call)
    _free(call, "security_group", "name", name, account_and_domain[0], "security group")
    identity = call.cloud.insert(
        "security_group", uuid=str(uuid.uuid4()), name=name, description=call.text("description") or None, account_id=account_and_domain[0],
        domain_id=account_and_domain[1],
    )  # fmt: skip
    return {"securitygroup": _security_group(call, call.there("security_group", identity))}


@command("listSecurityGroups")
def list_security_groups(call: Call) -> Response:
    """Return security groups with their rules."""
    rows = visible(call, call.cloud.rows("SELECT * FROM security_group ORDER BY id"))
    return call.page([_security_group(call, row) for row in rows if call.text("id") in ("", row["uuid"])], "securitygroup")


def _security_group(call: Call, row: Row) -> Response:
    found = call.cloud.rows("SELECT * FROM security_group_rule WHERE security_group_id = %s ORDER BY id", row["id"])
    values = {"id": row["uuid"], "name": row["name"], "description": row["description"], **owner(call, row)}
    for kind in ("ingress", "egress"):
        values[f"{kind}rule"] = [_rule(call, each) for each in found if each["type"] == kind]
    return present({**values, "tags": [], "virtualmachinecount": 0, "virtualmachineids": []})


def _rule(call: Call, row: Row) -> Response:
    group = call.look_up("security_group", row["allowed_network_id"])
    account = call.look_up("account", group.get("account_id"))
    icmp = row["protocol"] == ICMP
    return present(
        {
            "ruleid": row["uuid"],
            "protocol": row["protocol"],
            "startport": None if icmp else int(row["start_port"] or 0),
            "endport": None if icmp else int(row["end_port"] or 0),
            "icmptype": int(row["start_port"]) if icmp else None,
            "icmpcode": int(row["end_port"]) if icmp else None,
            "securitygroupname": group.get("name"),
            "account": account.get("account_name"),
            "cidr": row["allowed_ip_cidr"],
            "tags": [],
        }
    )


def _authorize(call: Call, kind: str) -> Response:
    group = call.find("security_group", "securitygroupid")
    protocol = call.text("protocol", "tcp").lower()
    names = ("icmptype", "icmpcode") if protocol == ICMP else ("startport", "endport")
    first, last = (call.number(name, 0) for name in names)
    allowed: list[tuple[int | None, str | None]] = [(None, cidr) for cidr in call.listed("cidrlist")]
    number = 0
    while f"usersecuritygrouplist[{number}].group" in call.parameters:
        name, account = (call.parameters[f"usersecuritygrouplist[{number}].{part}"] for part in ("group", "account"))
        found = call.cloud.value(
            "SELECT g.id FROM security_group g JOIN account a ON a.id = g.account_id WHERE g.name = %s AND a.account_name = %s "
            "AND a.domain_id = %s",
            name, account, group["domain_id"],
        )  # fmt: skip
        if found is None:
            raise ApiError(PARAM_ERROR, f"Unable to find security group {name} of account {account}")
        allowed.append((found, None))
        number += 1
    if not allowed:
        raise ApiError(PARAM_ERROR, "At least one cidr or security group needs to be specified")

    def work() -> Response:
        for network, cidr in allowed:
            call.cloud.insert(
                "security_group_rule", uuid=str(uuid.uuid4()), security_group_id=group["id"], type=kind, start_port=str(first),
                end_port=str(last), protocol=protocol, allowed_network_id=network, allowed_ip_cidr=cidr,
            )  # fmt: skip
        return _security_group(call, group)

    return named_job(call, "securitygroup", work)


@command("authorizeSecurityGroupIngress")
def authorize_ingress(call: Call) -> Response:
    """Let something in."""
    return _authorize(call, "ingress")


@command("authorizeSecurityGroupEgress")
def authorize_egress(call: Call) -> Response:
    """Let something out."""
    return _authorize(call, "egress")
