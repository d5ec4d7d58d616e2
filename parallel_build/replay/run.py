"""The plan, and the replay: the same judgement of each object, with or without the calls that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import ApiRefused, JobFailed
from parallel_build.cloudstack.created import Created, by_kind
from parallel_build.cloudstack.created_kinds import ACCOUNTS, ADDRESSES, API_KEYS, VMS
from parallel_build.records.created import BEGUN, DONE, FAILED, MADE, Entry
from parallel_build.replay import people, rules, things
from parallel_build.replay.original import PLANNED, NotReplayed, Original
from parallel_build.replay.reasons import REASONS, UNKNOWN, remove
from parallel_build.replay.recipe import Call, Recipe
from parallel_build.workload.choices import Calls, Item

LIMIT = 600.0  # seconds one job may take
RECIPES: Mapping[str, Recipe] = {**people.RECIPES, **things.RECIPES, **rules.RECIPES}
REPLAYED, THERE, TO_REPLAY, NOT = "replayed", "there", "to replay", "not replayed"


@dataclass(frozen=True)
class Line:
    """What becomes of one object.

    Attributes:
        verdict: replayed (by this command), there (by somebody else, or before), to replay, not replayed.
        id: on the original.
        why: why it is not replayed.
        remove: what removes it from its hypervisor.
        old, new: an API key's or an address's value on the new side, and on the original.
    """

    each: Created
    verdict: str
    id: str = ""
    why: str = ""
    remove: str = ""
    old: str = ""
    new: str = ""


class Log(Protocol):
    """Where it is written how far each object has come."""

    def entry(self, key: str) -> Entry | None:
        """What is written of an object."""

    def note(self, key: str, stage: str, id: str = "", why: str = "", **note: Any) -> None:
        """Write it down; refused where a later run has taken over."""


class Secrets(Protocol):
    """Where what only the operator may see is kept, before it is used."""

    def password(self, user: Created) -> str:
        """A user's password, the same each time."""

    def keys(self, user: Created, keys: Item) -> None:
        """A user's new API keys."""


class Replay:
    """The replay of one rollback.

    Args:
        cloud: the original's API, with a root administrator's keys.
        objects: what users created on the new side, in any order of kinds.
        say: gets a line for each object that is created.
    """

    def __init__(self, cloud: Calls, objects: Sequence[Created], log: Log, cancel: CancelToken, say: Callable[[str], None]) -> None:
        self._cloud, self._log, self._cancel, self._say = cloud, log, cancel, say
        self._objects = [each for some in by_kind(objects).values() for each in some]  # what a second look found is behind all others
        self._original = Original(cloud, self._objects)

    def plan(self) -> list[Line]:
        """What a replay would do. Calls nothing but lists."""
        return [self._line(each, None) for each in self._objects]

    def run(self, secrets: Secrets) -> list[Line]:
        """Create what can be created again and is not there. What the cloud refuses is listed with its words, and keeps nothing else from being created."""
        return [self._line(each, secrets) for each in self._objects]

    def _line(self, each: Created, secrets: Secrets | None) -> Line:
        recipe, entry = RECIPES.get(each.kind), self._log.entry(each.key)
        if recipe is None:
            self._original.missing(each, "")
            return Line(each, NOT, why=REASONS.get(each.kind, UNKNOWN), remove=remove(each, self._names() if each.kind == VMS else {}))
        try:
            line = self._judged(recipe, each, entry)
            if secrets is not None and (line.verdict == TO_REPLAY or self._unfinished(entry)):
                line = self._create(recipe, each, line, entry, secrets)
        except NotReplayed as why:
            line = Line(each, NOT, why=str(why))
        except (ApiRefused, JobFailed) as refused:
            reached = self._log.entry(each.key)
            made = reached.id if reached is not None and reached.stage == MADE else ""
            if secrets is not None:
                self._log.note(each.key, MADE if made else FAILED, made, refused.cause)
            line = Line(each, NOT, made, f"the cloud refused it: {refused.cause}")
        if line.verdict == NOT and not line.id:
            self._original.missing(each, line.why)
        else:
            self._original.there(each, line.id)
        return line

    @staticmethod
    def _unfinished(entry: Entry | None) -> bool:
        return entry is not None and entry.stage in (BEGUN, MADE)

    def _judged(self, recipe: Recipe, each: Created, entry: Entry | None) -> Line:
        if entry is not None and entry.stage in (MADE, DONE):
            return self._shown(each, REPLAYED, entry.id, entry.note.get("new", ""))
        found = None if each.kind == API_KEYS and self._unfinished(entry) else recipe.find(self._original, each)
        if found is None and each.kind == ADDRESSES and entry is not None and entry.stage == BEGUN:
            found = self._taken(each, entry)
        if found is not None:
            return self._shown(each, THERE, str(found["id"]), str(found.get("apikey") or found.get("ipaddress") or ""))
        recipe.make(self._original, each)
        return self._shown(each, TO_REPLAY, PLANNED, "")

    @staticmethod
    def _shown(each: Created, verdict: str, identity: str, new: str) -> Line:
        if each.kind not in (API_KEYS, ADDRESSES):
            return Line(each, verdict, identity)
        return Line(each, verdict, identity, old=each.text("apiKey") or each.name, new=new)

    def _create(self, recipe: Recipe, each: Created, line: Line, entry: Entry | None, secrets: Secrets) -> Line:
        self._cancel.check()
        new, identity = line.new, line.id
        if line.verdict == TO_REPLAY:
            reply, new = self._make(recipe, each, secrets)
            identity = str(reply.get("id") or each.uuid)
            self._say(f"{each.kind}: {each.name}" + (f" of {each.owner}" if each.owner else ""))
        if entry is None or entry.stage != MADE:
            self._log.note(each.key, MADE, identity, **({"new": new} if new else {}))
        for call in recipe.finish(self._original, each, identity):
            self._call(call.command, call.parameters)
        self._log.note(each.key, DONE, identity, **({"new": new} if new else {}))
        return self._shown(each, REPLAYED, identity, new)

    def _make(self, recipe: Recipe, each: Created, secrets: Secrets) -> tuple[Item, str]:
        """Make the call, on record before it.

        Returns:
            what the cloud gave, and an address's or key's new value.
        """
        call = recipe.make(self._original, each)
        self._log.note(each.key, BEGUN, **self._before(each))
        parameters = dict(call.parameters)
        if call.password:
            person = next((user for user in self._original.users_of(each) if user.uuid == parameters["userid"]), each)
            parameters["password"] = secrets.password(person)
            if each.kind == ACCOUNTS:  # its first user comes with it, and is finished when its turn comes
                self._log.note(person.key, BEGUN)
        try:
            reply = self._call(call.command, parameters)
        except (ApiRefused, JobFailed):
            if recipe.either is None:
                raise
            other: Call = recipe.either(self._original, each)
            reply = self._call(other.command, other.parameters)
        inner = next((value for value in reply.values() if isinstance(value, dict)), reply)
        if each.kind == API_KEYS:
            secrets.keys(each, inner)
            return {"id": each.uuid}, str(inner.get("apikey", ""))
        if each.kind == ACCOUNTS:
            self._first_user(each, parameters["userid"], inner)
        return inner, str(inner.get("ipaddress", "")) if each.kind == ADDRESSES else ""

    def _first_user(self, account: Created, uuid: str, made: Item) -> None:
        """Note under which id the user is there that came with its account."""
        user = next(user for user in self._original.users_of(account) if user.uuid == uuid)
        found = next((item for item in made.get("user") or [] if item.get("username") == user.name), None)
        if found is not None:
            self._log.note(user.key, MADE, str(found["id"]))

    def _before(self, each: Created) -> dict[str, Any]:
        """What a resumed run needs to tell an address that it got from those that were there."""
        if each.kind != ADDRESSES:
            return {}
        return {"held": sorted(item["id"] for item in self._held(each))}

    def _taken(self, each: Created, entry: Entry) -> Item | None:
        held = set(entry.note.get("held") or [])
        return next((item for item in self._held(each) if item["id"] not in held and not item.get("issourcenat")), None)

    def _held(self, each: Created) -> list[Item]:
        asked = {"networkid": "associatednetworkid", "vpcid": "vpcid"}
        call = things.make_other_address(self._original, each)
        place = {name: call.parameters[given] for given, name in asked.items() if given in call.parameters}
        return self._cloud.list("listPublicIpAddresses", **place, **self._original.scope(each))

    def _call(self, command: str, parameters: Mapping[str, Any]) -> Item:
        return self._cloud.job(command, timeout=LIMIT, cancel=self._cancel, **parameters)

    def _names(self) -> dict[str, str]:
        return {
            str(item["instancename"]): f"{item.get('name')} of {item.get('account')}"
            for item in self._original.items("listVirtualMachines", listall="true")
            if item.get("instancename")
        }
