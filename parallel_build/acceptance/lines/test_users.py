"""Users: logins with passwords from before; domains, accounts and users made and deleted, new ones and old ones."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.acceptance.suite import Bench
from parallel_build.cloudstack.api import Cloud
from parallel_build.workload.requests import password
from parallel_build.workload.things import ACCOUNTS, DISKS, DOMAIN, GROUPS, NETWORKS, SUBDOMAINS, USERS, VMS, VPCS

SESSION_KEY = "sessionkey"


def login(cloud: Cloud, name: str, secret: str, domain: str) -> bool:
    """Log in as the user interface does, and use the session: whether the cloud then lists the user as one that it knows."""
    with cloud.endpoint.session() as session:
        given = {"command": "login", "username": name, "password": secret, "domain": domain, "response": "json"}
        key = session.post(cloud.url, data=given, timeout=30).json()["loginresponse"].get(SESSION_KEY)
        if key is None:
            return False
        asked = {"command": "listUsers", SESSION_KEY: key, "response": "json"}
        reply: dict[str, Any] = session.post(cloud.url, data=asked, timeout=30).json()
    users = next(iter(reply.values())).get("user", [])
    assert any(user["username"] == name for user in users), f"{name} is logged in, and the session is not taken"
    return True


def _known(bench: Bench, passwords: dict[str, str]) -> list[str]:
    names = [str(user["username"]) for user in bench.workload.items(USERS, bench.domain).values() if user["username"] in passwords]
    assert names, "no user of the workload has a known password"
    return names


def test_users_log_in_with_passwords_from_before(cloud: Cloud, bench: Bench, passwords: dict[str, str]) -> None:
    refused = [name for name in _known(bench, passwords) if not login(cloud, name, passwords[name], DOMAIN)]
    assert refused == []


def test_a_wrong_password_is_refused(cloud: Cloud, bench: Bench, passwords: dict[str, str]) -> None:
    name = _known(bench, passwords)[0]
    assert not login(cloud, name, passwords[name] + "x", DOMAIN)


def _person(name: str, secret: str) -> dict[str, str]:
    return {"username": name, "email": f"{name}@example.test", "firstname": "A", "lastname": "B", "password": secret}


def test_domains_accounts_and_users_are_made_and_deleted(cloud: Cloud, bench: Bench) -> None:
    domain = bench.make("createDomain", "deleteDomain", {"cleanup": "true"}, name=bench.name())
    bench.listed("listDomains", domain)
    path, name, secret = str(domain["name"]), bench.name(), password()
    account = bench.make("createAccount", "deleteAccount", account=name, accounttype="0", domainid=domain["id"], **_person(name, secret))
    bench.listed("listAccounts", account, domainid=domain["id"])
    first = next((user for user in bench.cloud.list("listUsers", listall="true") if user["username"] == name), None)
    assert first is not None, "an account's first user is not listed"
    assert login(cloud, name, secret, path), "the first user of a new account can't log in"
    second, other = bench.name(), password()
    user = bench.make("createUser", "deleteUser", account=name, domainid=domain["id"], **_person(second, other))
    bench.listed("listUsers", user, account=name, domainid=domain["id"])
    assert login(cloud, second, other, path), "a new user can't log in"
    bench.job("deleteUser", id=user["id"])
    bench.gone("listUsers", user["id"])
    bench.job("deleteAccount", id=account["id"])
    bench.gone("listAccounts", account["id"])
    bench.gone("listUsers", first["id"])
    assert not login(cloud, name, secret, path), "a user of a deleted account can log in"
    bench.job("deleteDomain", id=domain["id"])
    bench.gone("listDomains", domain["id"])


def test_a_user_from_before_is_deleted(bench: Bench) -> None:
    users = [user for user in bench.existing(USERS) if str(user["username"]).startswith("wl-user-")]
    if not users:
        pytest.skip("the workload has no users besides each account's first")
    bench.job("deleteUser", id=users[-1]["id"])
    bench.gone("listUsers", users[-1]["id"])


def test_an_account_from_before_is_deleted(bench: Bench) -> None:
    owners = {item.get("account") for kind in (NETWORKS, VPCS, VMS, DISKS, GROUPS) for item in bench.planned(kind)}
    free = [account for account in bench.planned(ACCOUNTS) if account["name"] not in owners]
    if not free:
        pytest.skip("every account of the workload owns something: plan spareAccounts")
    users = [user for user in bench.cloud.list("listUsers", listall="true") if user.get("accountid") == free[-1]["id"]]
    bench.job("deleteAccount", id=free[-1]["id"])
    bench.gone("listAccounts", free[-1]["id"])
    for user in users:
        bench.gone("listUsers", user["id"])


def test_a_domain_from_before_is_deleted(bench: Bench) -> None:
    found = bench.planned(SUBDOMAINS)
    if not found:
        pytest.skip("the workload has no domain to delete: plan subdomains")
    bench.job("deleteDomain", id=found[-1]["id"], cleanup="true")
    bench.gone("listDomains", found[-1]["id"])
