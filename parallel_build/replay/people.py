"""Domains, accounts, users and their API keys."""

from __future__ import annotations

from parallel_build.cloudstack.created import Created
from parallel_build.cloudstack.created_kinds import ACCOUNTS, API_KEYS, DOMAINS, USERS
from parallel_build.replay.original import NotReplayed, Original, given
from parallel_build.replay.recipe import Call, Recipe
from parallel_build.workload.choices import Item

OWN_USERS = ("", "UNKNOWN", "NATIVE")  # users whose password is CloudStack's own [User.Source]
ADMIN_STATE = ("disabled", "locked")


def find_domain(original: Original, each: Created) -> Item | None:
    """By its path."""
    try:
        return {"id": original.domain(each.text("path"))}
    except NotReplayed:
        return None


def make_domain(original: Original, each: Created) -> Call:
    """Under the same UUID."""
    parent = original.ref(each.text("parent"))
    return Call("createDomain", given(name=each.name, parentdomainid=parent, networkdomain=each.text("networkDomain"), domainid=each.uuid))


def find_account(original: Original, each: Created) -> Item | None:
    """By name and domain."""
    found = original.account(each.domain, each.name)
    return {"id": found} if found else None


def make_account(original: Original, each: Created) -> Call:
    """With its first user, as CloudStack wants it."""
    first = next((user for user in original.users_of(each) if _own(user)), None)
    if first is None:
        raise NotReplayed("it has no user with a password of its own, and CloudStack creates an account with its first user")
    role = original.ref(each.text("role")) if each.text("role") else ""
    if role and all(item["id"] != role for item in original.items("listRoles")):
        raise NotReplayed(f"its role {each.text('roleName')} is not on the original: create that first, then run this again")
    own = {"account": each.name, "domainid": original.domain(each.domain), "accountid": each.uuid, "userid": first.uuid}
    kind = given(accounttype=each.text("type"), roleid=role, networkdomain=each.text("networkDomain"))
    return Call("createAccount", {**_person(first), **own, **kind}, password=True)


def finish_account(original: Original, each: Created, identity: str) -> list[Call]:
    """Disabled or locked where it was."""
    if each.text("state") not in ADMIN_STATE:
        return []
    return [Call("disableAccount", {"id": identity, "lock": str(each.text("state") == "locked").lower()})]


def find_user(original: Original, each: Created) -> Item | None:
    """By name and domain: CloudStack has a name once in a domain."""
    domain = original.domain(each.domain)
    for item in original.items("listUsers", listall="true"):
        if item.get("username") == each.name and item.get("domainid") == domain:
            if item.get("account") != each.account:
                raise NotReplayed(f"a user of that name belongs to the account {item.get('account')} by now")
            return item
    return None


def make_user(original: Original, each: Created) -> Call:
    """With a password that is used once."""
    if not _own(each):
        raise NotReplayed(f"it logs in by {each.text('source')}: import it from there")
    return Call("createUser", {**_person(each), **original.owner(each), "userid": each.uuid}, password=True)


def finish_user(original: Original, each: Created, identity: str) -> list[Call]:
    """Disabled until its owner has got the password."""
    return [Call("disableUser", {"id": identity})]


def _own(user: Created) -> bool:
    return user.text("source").upper() in OWN_USERS


def _person(user: Created) -> dict[str, str]:
    names = {name: user.text(name) or user.name for name in ("firstname", "lastname", "email")}
    return given(username=user.name, timezone=user.text("timezone"), **names)


def find_keys(original: Original, each: Created) -> Item | None:
    """Those of a user who was there before work again: nothing is changed. Those of a user who was created again are new."""
    user = original.ref(each.text("user"))
    items = [item for item in original.items("listUsers", listall="true") if item["id"] == user]
    if items and (items[0].get("apikey") or not original.replayed(each.text("user"))):
        return {**items[0], "id": items[0].get("apikey") or "none"}
    return None


def make_keys(original: Original, each: Created) -> Call:
    """New ones: the secret of the old ones is not known."""
    return Call("registerUserKeys", {"id": original.ref(each.text("user"))})


RECIPES = {
    DOMAINS: Recipe(find_domain, make_domain),
    ACCOUNTS: Recipe(find_account, make_account, finish_account),
    USERS: Recipe(find_user, make_user, finish_user),
    API_KEYS: Recipe(find_keys, make_keys),
}
