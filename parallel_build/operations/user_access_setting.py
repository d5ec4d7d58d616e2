"""Users out by `api.allowed.source.cidr.list`: the global value and those of accounts, written down before they are changed and put back as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from parallel_build.cloudstack.api import ApiRefused, Cloud
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database, store
from parallel_build.remote.sql import session

STEP = "UserAccess"  # whose facts in the window's record these are
SETTING = "api.allowed.source.cidr.list"  # dynamic, since 4.11 [CloudStack ApiServer.checkCommandAvailable]
CHECKS = "api.source.cidr.checks.enabled"


def close(context: Context, cloud: Cloud, allowed: Sequence[str]) -> None:
    """Let only `allowed` networks call the API.

    Raises:
        GuardFailed: the cloud does not look at the setting; nothing has been changed.
        StepFailed: it does not take the value.
    """
    wanted = ",".join(allowed)
    # A version that does not have it looks at the networks always.
    if any(
        item.get("name") == CHECKS and str(item.get("value")).lower() == "false" for item in cloud.list("listConfigurations", name=CHECKS)
    ):
        raise GuardFailed(
            f"{CHECKS} is false on {cloud.url}",
            f"{SETTING} has no effect then",
            "set it to true, or use another window.userAccess.method",
        )
    facts = store(context).facts(STEP)
    # The old values are on record before they are changed: they are needed on whichever side serves in the end.
    if "previous" not in facts:
        store(context).remember(STEP, previous=setting(cloud), closed=True)
    own: dict[str, str] = facts.get("accounts") or own_values(context)
    if own and "accounts" not in facts:
        store(context).remember(STEP, accounts=own)
    for account in (None, *own):
        if setting(cloud, account=account) != wanted:
            _change(cloud, wanted, account)


def open_again(context: Context, cloud: Cloud) -> None:
    """Put every value back as it was before; nothing happens where nothing was changed.

    Raises:
        StepFailed: the cloud does not take a value.
    """
    facts = store(context).facts(STEP)
    if "previous" not in facts:
        return
    for account, value in facts.get("accounts", {}).items():
        with contextlib.suppress(ApiRefused):  # an account that was deleted meanwhile has nothing to be put back
            if setting(cloud, account=account) != value:
                _change(cloud, value, account)
    if setting(cloud) != facts["previous"]:
        _change(cloud, facts["previous"], None)


def _change(cloud: Cloud, value: str, account: str | None) -> None:
    whose = {"accountid": account} if account else {}
    cloud.call("updateConfiguration", name=SETTING, value=value, **whose)
    now = setting(cloud, account=account)
    if now != value:
        of = f" of account {account}" if account else ""
        raise StepFailed(f"{cloud.url} does not take {SETTING}={value}{of}", f"it still says {now}", f"set it to {value} there by hand")


def setting(cloud: Cloud, name: str = SETTING, *, account: str | None = None) -> str:
    """A setting's value as the API gives it: the global one, or that of an account (its id).

    Raises:
        StepFailed: there is no such setting.
    """
    whose = {"accountid": account} if account else {}
    for item in cloud.list("listConfigurations", name=name, **whose):
        if item.get("name") == name:
            return str(item.get("value", ""))
    raise StepFailed(
        f"{cloud.url} has no setting {name}",
        "its version does not know it, and users are kept out by it",
        "keep them out another way: window.userAccess.method firewall or command",
    )


def own_values(context: Context) -> dict[str, str]:
    """Accounts with a value of their own, id -> value: it wins over the global one, so users of theirs would stay in [CloudStack ApiServer.java]."""
    with session(original_database(context)) as database:
        rows = database.rows(
            "SELECT a.uuid, d.value FROM cloud.account_details d JOIN cloud.account a ON a.id = d.account_id WHERE d.name = %s AND a.removed IS NULL",
            [SETTING],
        )
    return {str(row["uuid"]): str(row["value"]) for row in rows}
