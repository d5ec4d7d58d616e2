"""The original cloud as a replay sees it: what is there, under which id, and what is going to be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from parallel_build.cloudstack.created import Created
from parallel_build.cloudstack.created_kinds import ACCOUNTS, ADDRESSES, BY_NAME, DOMAINS, TAGS, USERS
from parallel_build.workload.choices import Calls, Item

PLANNED = "(planned)"  # the id of what an earlier line of the plan creates


class NotReplayed(Exception):
    """An object is not created again; the text says why."""


class Original:
    """Lists of the cloud, each asked once, and the ids of what was created again.

    Args:
        objects: everything that users created on the new side.
    """

    def __init__(self, cloud: Calls, objects: Iterable[Created]) -> None:
        self.cloud = cloud
        self._objects = list(objects)
        self._created = {each.uuid: each for each in self._objects if _is_one(each)}
        self._lists: dict[tuple[str, tuple[tuple[str, str], ...]], list[Item]] = {}
        self._ids: dict[str, str] = {}
        self._why: dict[str, str] = {}
        self._accounts: dict[tuple[str, str], str] | None = None

    def items(self, command: str, **parameters: Any) -> list[Item]:
        """Every item of a list; nothing of what stands on something that is only planned."""
        if PLANNED in parameters.values():
            return []
        key = command, tuple(sorted((name, str(value)) for name, value in parameters.items()))
        if key not in self._lists:
            self._lists[key] = self.cloud.list(command, **parameters)
        return self._lists[key]

    def there(self, each: Created, identity: str) -> None:
        """An object is there, or is going to be, under this id."""
        if _is_one(each):
            self._ids[each.uuid] = identity
        if each.kind == ACCOUNTS:
            self._by_name()[each.domain, each.name] = identity

    def missing(self, each: Created, why: str) -> None:
        """An object is not created again: neither is what stands on it."""
        if _is_one(each) and each.uuid not in self._ids:
            self._why[each.uuid] = why

    def ref(self, uuid: str) -> str:
        """The original's id of what another object stands on; what was there before has the same on both sides.

        Raises:
            NotReplayed: it was created on the new side, and is not there.
        """
        if uuid in self._ids:
            return self._ids[uuid]
        on = self._created.get(uuid)
        if on is None:
            return uuid
        raise NotReplayed(
            f"the {_one(on.kind)} {on.text('native') or on.name} that it stands on is not there"
            + (f" ({self._why[uuid]})" if uuid in self._why else "")
        )

    def replayed(self, uuid: str) -> bool:
        """Whether this was created on the new side."""
        return uuid in self._created

    def users_of(self, account: Created) -> list[Created]:
        """The users that an account was created with, in the order of their creation."""
        return [each for each in self._objects if each.kind == USERS and (each.domain, each.account) == (account.domain, account.name)]

    def domain(self, path: str) -> str:
        """The id of a domain by its path.

        Raises:
            NotReplayed: there is none.
        """
        for each in self.items("listDomains", listall="true"):
            if segments(str(each.get("path") or "/")) == segments(path):
                return str(each["id"])
        for one in self._objects:
            if one.kind == DOMAINS and one.text("path") == path and one.uuid in self._ids:
                return self._ids[one.uuid]
        raise NotReplayed(f"its domain {path} is not there")

    def account(self, domain: str, name: str) -> str:
        """The id of an account; "" where there is none."""
        return self._by_name().get((domain, name), "")

    def _by_name(self) -> dict[tuple[str, str], str]:
        if self._accounts is None:
            paths = {str(each["id"]): str(each.get("path") or "/") for each in self.items("listDomains", listall="true")}
            self._accounts = {
                (canonical(paths.get(str(each.get("domainid")), "/")), str(each["name"])): str(each["id"])
                for each in self.items("listAccounts", listall="true")
            }
        return self._accounts

    def owner(self, each: Created) -> dict[str, str]:
        """How the API names an object's owner.

        Raises:
            NotReplayed: the owner is not there.
        """
        if each.project:
            return {"projectid": self.ref(each.project)}
        if not self.account(each.domain, each.account):
            raise NotReplayed(f"its owner {each.owner} is not there")
        return {"account": each.account, "domainid": self.domain(each.domain)}

    def scope(self, each: Created) -> dict[str, str]:
        """Whose objects are listed: CloudStack lists a project's only for that project."""
        return {"projectid": self.ref(each.project)} if each.project else {"listall": "true"}

    def owned(self, each: Created, command: str, **parameters: Any) -> list[Item]:
        """Items of a list that belong to an object's owner."""
        owner = self.owner(each)
        if each.project:
            return self.items(command, **owner, **parameters)
        if PLANNED in (owner["domainid"], self.account(each.domain, each.account)):
            return []
        return [
            item
            for item in self.items(command, listall="true", **parameters)
            if item.get("account") == owner["account"] and item.get("domainid") == owner["domainid"]
        ]


def _is_one(each: Created) -> bool:
    """Whether others may stand on it: it is no change of something, and no tag."""
    kind = BY_NAME.get(each.kind)
    return kind is not None and (not kind.updated or each.kind == ADDRESSES) and each.kind != TAGS


def segments(path: str) -> tuple[str, ...]:
    """A domain's path without its root: `/a/b/` and `ROOT/a/b` are one."""
    inner = path if path.startswith("/") else path.partition("/")[2]
    return tuple(part for part in inner.split("/") if part)


def canonical(path: str) -> str:
    """A domain's path as the database has it."""
    return "/" + "".join(f"{part}/" for part in segments(path))


def given(**values: Any) -> dict[str, Any]:
    """Parameters of a call without those that have no value."""
    return {name: value for name, value in values.items() if value not in (None, "", [])}


def _one(kind: str) -> str:
    return {"virtual machines": "VM", "public addresses": "address"}.get(kind, kind.removesuffix("s"))
