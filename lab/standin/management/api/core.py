"""What every API command is made of: its registration, its call, its errors, its answers' common parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...shared.database import Database, Row
from ..server import ManagementServer

if TYPE_CHECKING:
    from ..agents import AgentManager
    from ..cluster import ClusterManager
    from ..jobs import Jobs, Work
    from ..systemvms import SystemVms
    from ..templates import Templates

UNAUTHORIZED = 401
PARAM_ERROR = 431
UNSUPPORTED = 432
INTERNAL_ERROR = 530
DEFAULT_PAGE = 500
ROOT_ADMIN = 1

Response = dict[str, Any]


class ApiError(Exception):
    """A command is refused or fails; the code is the HTTP status too."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Caller:
    """Who called."""

    user_id: int
    user_name: str
    account_id: int
    account_name: str
    account_type: int
    domain_id: int
    domain_path: str

    @property
    def is_admin(self) -> bool:
        """Tell whether this is a root admin."""
        return self.account_type == ROOT_ADMIN


@dataclass
class Call:
    """One call of a command."""

    name: str
    parameters: dict[str, str]
    caller: Caller
    server: ManagementServer
    agents: AgentManager
    cluster: ClusterManager
    jobs: Jobs
    system_vms: SystemVms
    templates: Templates
    _names: dict[tuple[str, int], Row] = field(default_factory=dict)

    @property
    def cloud(self) -> Database:
        """The database."""
        return self.server.cloud

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter."""
        return self.parameters.get(name.lower(), default)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a parameter that is true or false."""
        value = self.parameters.get(name.lower())
        return default if value is None else value.lower() == "true"

    def number(self, name: str, default: int) -> int:
        """Return a parameter that is a number; raises ApiError."""
        value = self.parameters.get(name.lower())
        if value is None:
            return default
        if not value.lstrip("-").isdigit():
            raise ApiError(PARAM_ERROR, invalid_value(self.name, name, value))
        return int(value)

    def required(self, name: str) -> str:
        """Return a parameter that has to be given; raises ApiError."""
        value = self.parameters.get(name.lower())
        if not value:
            raise ApiError(PARAM_ERROR, f"Unable to execute API command {self.name.lower()} due to missing parameter {name.lower()}")
        return value

    def listed(self, name: str) -> list[str]:
        """Return a parameter that is a list with commas."""
        return [part for part in self.text(name).split(",") if part]

    def details(self, name: str) -> dict[str, str]:
        """Return a parameter that is a map: name[0].key=value."""
        prefix = name.lower() + "["
        found: dict[str, str] = {}
        for key, value in self.parameters.items():
            if key.startswith(prefix):
                found[key.partition("].")[2]] = value
        return found

    def find(self, table: str, name: str, *, removed: bool = False) -> Row:
        """Return the row that a parameter names by its UUID; raises ApiError in the words of the real one."""
        value = self.required(name)
        living = " AND removed IS NULL" if not removed and "removed" in self.cloud.columns(table) else ""
        row = self.cloud.row(f"SELECT * FROM `{table}` WHERE uuid = %s{living}", value)
        if row is None:
            raise ApiError(PARAM_ERROR, invalid_value(self.name, name, value))
        return row

    def maybe(self, table: str, name: str) -> Row | None:
        """Return the row that a parameter names, None where it is not given."""
        return self.find(table, name) if self.text(name) else None

    def look_up(self, table: str, row_id: int | None) -> Row:
        """Return a row by its id, read once a call; empty where there is none."""
        if row_id is None:
            return {}
        key = (table, row_id)
        if key not in self._names:
            self._names[key] = self.cloud.row(f"SELECT * FROM `{table}` WHERE id = %s", row_id) or {}
        return self._names[key]

    def there(self, table: str, row_id: int) -> Row:
        """Return a row that there is, as it is now."""
        row = self.cloud.row(f"SELECT * FROM `{table}` WHERE id = %s", row_id)
        assert row is not None
        return row

    def job(self, kind: str | None, instance_id: int | None, work: Work, begin: Callable[[], None] | None = None) -> str:
        """Enter a job for this call and begin it; returns its UUID. See `Jobs.submit`."""
        return self.jobs.submit(self.name, self.parameters, self.caller.user_id, self.caller.account_id, kind, instance_id, work, begin)

    def page(self, items: list[Response], name: str) -> Response:
        """Return a list's answer: all of it, or the page that is asked for."""
        count = len(items)
        if self.text("pagesize") or self.text("page"):
            size = self.number("pagesize", DEFAULT_PAGE)
            if size > 0:
                first = max(0, self.number("page", 1) - 1) * size
                items = items[first : first + size]
        if not items:
            return {"count": count} if count else {}
        return {"count": count, name: items}

    def matches(self, *names: str | None) -> bool:
        """Tell whether one of these names contains the keyword, where one is given."""
        keyword = self.text("keyword").lower()
        return not keyword or any(keyword in (name or "").lower() for name in names)


Handler = Callable[[Call], Response]


@dataclass(frozen=True)
class Command:
    """A registered command."""

    name: str
    handler: Handler
    admin: bool


COMMANDS: dict[str, Command] = {}


def command(name: str, *, admin: bool = False) -> Callable[[Handler], Handler]:
    """Register a command under its exact name.

    Args:
        name: names of commands are case-sensitive.
        admin: only a root admin may call it.
    """

    def register(handler: Handler) -> Handler:
        COMMANDS[name] = Command(name, handler, admin)
        return handler

    return register


def invalid_value(command_name: str, parameter: str, value: str) -> str:
    """Return the text about a parameter that names nothing."""
    return (
        f"Unable to execute API command {command_name.lower()} due to invalid value. Invalid parameter "
        f"{parameter.lower()} value={value} due to incorrect long value format, or entity does not exist or due to "
        "incorrect parameter annotation for the field in api cmd class."
    )


def when(value: datetime | None) -> str | None:
    """Return a time as the API writes it."""
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%S+0000")


def present(values: Response) -> Response:
    """Leave out what is None: the real answers have no nulls."""
    return {key: value for key, value in values.items() if value is not None}


def success() -> Response:
    """Return the answer of a command that has nothing else to say."""
    return {"success": True}
