"""Accounts and users."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Callable

from ...shared.database import Row, utcnow
from .. import alerts, passwords
from .common import domain_path
from .core import PARAM_ERROR, ApiError, Call, Response, command, invalid_value, present, success, when

ROOT_DOMAIN = 1
USER_ROLE = 4
ADMIN_USER = 2


def _account(call: Call, row: Row) -> Response:
    domain = call.look_up("domain", row["domain_id"])
    role = call.look_up("roles", row["role_id"]) if call.cloud.has("roles") else {}
    vms = call.cloud.value("SELECT COUNT(*) FROM vm_instance WHERE account_id = %s AND type = 'User' AND removed IS NULL", row["id"])
    users = call.cloud.rows("SELECT * FROM user WHERE account_id = %s AND removed IS NULL ORDER BY id", row["id"])
    return present(
        {
            "id": row["uuid"],
            "name": row["account_name"],
            "accounttype": row["type"],
            "roleid": role.get("uuid"),
            "roletype": role.get("role_type"),
            "rolename": role.get("name"),
            "domainid": domain.get("uuid"),
            "domain": domain.get("name"),
            "domainpath": domain_path(call, domain),
            "vmtotal": vms,
            "state": row["state"],
            "created": when(row["created"]),
            "networkdomain": row["network_domain"],
            "isdefault": bool(row["default"]),
            "user": [_user(call, user) for user in users],
            "groups": [],
            "hasannotations": False,
        }
    )


def _api_key(call: Call, row: Row) -> str | None:
    if not call.server.keypairs:
        return str(row["api_key"]) if row["api_key"] else None
    pair = call.cloud.row("SELECT api_key FROM api_keypair WHERE removed IS NULL AND user_id = %s ORDER BY id DESC LIMIT 1", row["id"])
    return str(pair["api_key"]) if pair else None


def _user(call: Call, row: Row) -> Response:
    account = call.look_up("account", row["account_id"])
    domain = call.look_up("domain", account.get("domain_id"))
    return present(
        {
            "id": row["uuid"],
            "username": row["username"],
            "firstname": row["firstname"],
            "lastname": row["lastname"],
            "email": row["email"],
            "created": when(row["created"]),
            "state": row["state"],
            "account": account.get("account_name"),
            "accountid": account.get("uuid"),
            "accounttype": account.get("type"),
            "domainid": domain.get("uuid"),
            "domain": domain.get("name"),
            "apikey": _api_key(call, row),
            "iscallerchilddomain": False,
            "isdefault": bool(row["default"]),
            "usersource": "native",
        }
    )


@command("listAccounts")
def list_accounts(call: Call) -> Response:
    """Return accounts: an admin sees all of them."""
    rows = call.cloud.rows("SELECT * FROM account WHERE removed IS NULL AND id <> 1 ORDER BY id")
    domain = call.maybe("domain", "domainid")
    return call.page(
        [
            _account(call, row)
            for row in rows
            if (
                (call.caller.is_admin or row["id"] == call.caller.account_id)
                and call.text("id") in ("", row["uuid"])
                and call.text("name") in ("", row["account_name"])
                and (domain is None or row["domain_id"] == domain["id"])
                and call.text("state").lower() in ("", (row["state"] or "").lower())
                and call.matches(row["account_name"])
            )
        ],
        "account",
    )


@command("listUsers")
def list_users(call: Call) -> Response:
    """Return users: an admin sees all of them."""
    rows = call.cloud.rows("SELECT * FROM user WHERE removed IS NULL AND id <> 1 ORDER BY id")
    return call.page(
        [
            _user(call, row)
            for row in rows
            if (
                (call.caller.is_admin or row["account_id"] == call.caller.account_id)
                and call.text("id") in ("", row["uuid"])
                and call.text("username") in ("", row["username"])
                and call.text("account") in ("", call.look_up("account", row["account_id"]).get("account_name"))
                and call.matches(row["username"])
            )
        ],
        "user",
    )


def _insert_user(call: Call, account_id: int) -> Row:
    name = call.required("username")
    if call.cloud.value(
        "SELECT u.id FROM user u JOIN account a ON a.id = u.account_id JOIN account own ON own.domain_id = a.domain_id WHERE own.id = %s "
        "AND u.username = %s AND u.removed IS NULL",
        account_id, name,
    ):  # fmt: skip
        raise ApiError(PARAM_ERROR, f"The user {name} already exists in the domain")
    user_id = call.cloud.insert(
        "user",
        uuid=call.text("userid") or str(uuid.uuid4()),
        username=name,
        password=passwords.hashed(call.required("password")),
        account_id=account_id,
        firstname=call.required("firstname"),
        lastname=call.required("lastname"),
        email=call.required("email"),
        state="enabled",
        created=utcnow(),
        timezone=call.text("timezone") or None,
        is_registered=0,
        incorrect_login_attempts=0,
        default=0,
        source="UNKNOWN",
        is_user_2fa_enabled=0,
    )
    row = call.cloud.row("SELECT * FROM user WHERE id = %s", user_id)
    assert row is not None
    return row


@command("createAccount", admin=True)
def create_account(call: Call) -> Response:
    """Add an account with its first user."""
    name = call.text("account") or call.required("username")
    domain = call.maybe("domain", "domainid") or call.look_up("domain", ROOT_DOMAIN)
    if call.cloud.value("SELECT id FROM account WHERE account_name = %s AND domain_id = %s AND removed IS NULL", name, domain["id"]):
        raise ApiError(PARAM_ERROR, f"The user {name} or account {name} already exists in the domain {domain['name']}")
    kind = call.number("accounttype", 0)
    role = call.maybe("roles", "roleid") if call.cloud.has("roles") else None
    with call.cloud.transaction():
        account_id = call.cloud.insert(
            "account",
            account_name=name,
            uuid=call.text("accountid") or str(uuid.uuid4()),
            type=kind,
            role_id=role["id"] if role else (1 if kind == 1 else USER_ROLE),
            domain_id=domain["id"],
            state="enabled",
            created=utcnow(),
            cleanup_needed=0,
            network_domain=call.text("networkdomain") or f"cs{secrets.token_hex(2)}cloud.internal",
            default=0,
        )
        _insert_user(call, account_id)
    row = call.cloud.row("SELECT * FROM account WHERE id = %s", account_id)
    assert row is not None
    account_event(call, "ACCOUNT.CREATE", f"creating account {name}", account_id)
    return {"account": _account(call, row)}


def remove_account(call: Call, row: Row) -> None:
    """Remove an account with its users and VMs."""
    now = utcnow()
    for vm in call.cloud.rows("SELECT id FROM vm_instance WHERE account_id = %s AND type = 'User' AND removed IS NULL", row["id"]):
        call.cloud.update("vm_instance", vm["id"], state="Expunging", removed=now, host_id=None, update_time=now)
        call.cloud.execute("UPDATE volumes SET state = 'Expunged', removed = %s WHERE instance_id = %s", now, vm["id"])
    call.cloud.execute("UPDATE user SET removed = %s WHERE account_id = %s AND removed IS NULL", now, row["id"])
    call.cloud.update("account", row["id"], removed=now)


@command("deleteAccount", admin=True)
def delete_account(call: Call) -> Response:
    """Delete an account with its users and VMs."""
    row = call.find("account", "id")
    if row["default"]:
        raise ApiError(PARAM_ERROR, f"The account is default and can't be removed: {row['account_name']}")

    def work() -> Response:
        remove_account(call, row)
        account_event(call, "ACCOUNT.DELETE", f"deleting account {row['account_name']}", row["id"])
        return {"null": success()}

    return {"jobid": call.job("Account", row["id"], work)}


@command("createUser", admin=True)
def create_user(call: Call) -> Response:
    """Add a user to an account."""
    name = call.required("account")
    domain = call.maybe("domain", "domainid") or call.look_up("domain", ROOT_DOMAIN)
    account = call.cloud.row("SELECT * FROM account WHERE account_name = %s AND domain_id = %s AND removed IS NULL", name, domain["id"])
    if account is None:
        raise ApiError(PARAM_ERROR, invalid_value(call.name, "account", name))
    row = _insert_user(call, account["id"])
    account_event(call, "USER.CREATE", f"creating user {row['username']}", row["id"])
    return {"user": _user(call, row)}


@command("deleteUser", admin=True)
def delete_user(call: Call) -> Response:
    """Delete a user."""
    row = call.find("user", "id")
    if row["default"] or row["id"] == ADMIN_USER:
        raise ApiError(PARAM_ERROR, "The user is default and can't be removed")
    call.cloud.update("user", row["id"], removed=utcnow())
    account_event(call, "USER.DELETE", f"deleting user {row['username']}", row["id"])
    return success()


def _switch(call: Call, table: str, state: str, name: str, shown: Callable[[Call, Row], Response]) -> Response:
    row = call.find(table, "id")

    def work() -> Response:
        call.cloud.update(table, row["id"], state=state)
        account_event(call, f"{name.upper()}.{'ENABLE' if state == 'enabled' else 'DISABLE'}", f"setting {name} to {state}", row["id"])
        return {name: shown(call, {**row, "state": state})}

    if state == "enabled":
        return work()
    return {"jobid": call.job(name.title(), row["id"], work)}


@command("disableUser", admin=True)
def disable_user(call: Call) -> Response:
    """Let a user log in no more."""
    return _switch(call, "user", "disabled", "user", _user)


@command("enableUser", admin=True)
def enable_user(call: Call) -> Response:
    """Let a user log in again."""
    return _switch(call, "user", "enabled", "user", _user)


@command("disableAccount", admin=True)
def disable_account(call: Call) -> Response:
    """Disable or lock an account."""
    return _switch(call, "account", "locked" if call.flag("lock") else "disabled", "account", _account)


@command("listRoles", admin=True)
def list_roles(call: Call) -> Response:
    """Return the roles."""
    rows = call.cloud.rows("SELECT * FROM roles WHERE removed IS NULL ORDER BY id") if call.cloud.has("roles") else []
    return call.page(
        [
            present(
                {
                    "id": row["uuid"],
                    "name": row["name"],
                    "type": row["role_type"],
                    "description": row["description"],
                    "isdefault": bool(row["is_default"]),
                }
            )
            for row in rows
            if call.text("id") in ("", row["uuid"])
        ],
        "role",
    )


@command("registerUserKeys")
def register_user_keys(call: Call) -> Response:
    """Give a user new API keys."""
    row = call.find("user", "id")
    if not call.caller.is_admin and row["id"] != call.caller.user_id:
        raise ApiError(531, f"Caller does not have permission to operate with provided resource User {row['uuid']}")
    keys = [base64.urlsafe_b64encode(secrets.token_bytes(64)).decode().rstrip("=") for _ in range(2)]
    sealed = call.server.encrypt(keys[1])
    if call.server.keypairs:
        account = call.look_up("account", row["account_id"])
        call.cloud.execute("UPDATE api_keypair SET removed = %s WHERE removed IS NULL AND user_id = %s", utcnow(), row["id"])
        call.cloud.execute(
            "INSERT INTO api_keypair (uuid, name, user_id, account_id, domain_id, api_key, secret_key, created) "
            "VALUES (UUID(), 'Active key pair', %s, %s, %s, %s, %s, %s)",
            row["id"], account["id"], account["domain_id"], keys[0], sealed, utcnow(),
        )  # fmt: skip
    else:
        call.cloud.update("user", row["id"], api_key=keys[0], secret_key=sealed)
    account_event(call, "REGISTER.USER.KEY", "registering user keys", row["id"])
    return {"userkeys": {"apikey": keys[0], "secretkey": keys[1]}}


def account_event(call: Call, kind: str, doing: str, resource_id: int) -> None:
    """Add the event about an account, a user or a domain."""
    alerts.add_event(
        call.server,
        kind,
        f"Successfully completed {doing}",
        user_id=call.caller.user_id,
        account_id=call.caller.account_id,
        domain_id=call.caller.domain_id,
        resource_id=resource_id,
        resource_type={"DOMAIN": "Domain", "ACCOUNT": "Account"}.get(kind.split(".")[0], "User"),
    )
