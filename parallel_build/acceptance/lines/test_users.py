"""Users: logins with passwords from before; domains, accounts and users made and deleted, new ones and old ones."""

from __future__ import annotations

import pytest
import requests

from parallel_build.acceptance.suite import Bench
from parallel_build.cloudstack.api import Cloud
from parallel_build.workload.requests import password
from parallel_build.workload.things import DOMAIN, USERS

LOGGED_IN = "sessionkey"


def login(cloud: Cloud, name: str, secret: str, domain: str) -> dict[str, object]:
    """What a login by the user interface's way gives: a session, or an error."""
    with cloud.endpoint.session() as session:
        given = {"command": "login", "username": name, "password": secret, "domain": domain, "response": "json"}
        reply: requests.Response = session.post(cloud.url, data=given, timeout=30)
    found: dict[str, object] = reply.json()["loginresponse"]
    return found


def test_users_log_in_with_passwords_from_before(cloud: Cloud, bench: Bench, passwords: dict[str, str]) -> None:
    names = [str(user["username"]) for user in bench.workload.items(USERS, bench.domain).values() if user["username"] in passwords]
    assert names, "no user of the workload has a known password"
    for name in names:
        assert LOGGED_IN in login(cloud, name, passwords[name], DOMAIN), name


def test_a_wrong_password_is_refused(cloud: Cloud, bench: Bench, passwords: dict[str, str]) -> None:
    name = next(iter(passwords))
    assert LOGGED_IN not in login(cloud, name, passwords[name] + "x", DOMAIN)


def _account(bench: Bench, domain: str) -> dict[str, object]:
    name = bench.name()
    return bench.make(
        "createAccount", "deleteAccount", account=name, username=name, email=f"{name}@example.test", firstname="A", lastname="B",
        password=password(), accounttype="0", domainid=domain,
    )  # fmt: skip


def test_domains_accounts_and_users_are_made_and_deleted(bench: Bench) -> None:
    domain = bench.make("createDomain", "deleteDomain", name=bench.name())
    assert bench.find("listDomains", domain["id"])
    account = _account(bench, str(domain["id"]))
    assert bench.find("listAccounts", account["id"])
    name = bench.name()
    user = bench.make(
        "createUser", "deleteUser", account=account["name"], domainid=domain["id"], username=name, email=f"{name}@example.test", firstname="A",
        lastname="B", password=password(),
    )  # fmt: skip
    assert bench.find("listUsers", user["id"])
    bench.job("deleteUser", id=user["id"])
    assert bench.find("listUsers", user["id"]) is None
    bench.job("deleteAccount", id=account["id"])
    assert bench.find("listAccounts", account["id"]) is None
    bench.job("deleteDomain", id=domain["id"])
    assert bench.find("listDomains", domain["id"]) is None


def test_a_user_from_before_is_deleted(bench: Bench) -> None:
    users = [user for user in bench.existing(USERS) if str(user["username"]).startswith("wl-user-")]
    if not users:
        pytest.skip("the workload has no users besides each account's first")
    bench.job("deleteUser", id=users[-1]["id"])
    assert bench.find("listUsers", users[-1]["id"]) is None
