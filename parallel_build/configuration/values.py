"""What every section is made of: strict models, durations, paths, addresses, and the phases."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path, PosixPath
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel

from parallel_build.project import PROJECT

USER_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,62}$")
# What ssh is to connect to: never a word that it would take for an option.
SSH_DESTINATION = re.compile(r"^[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]{0,253}$")
HOST_KEY = re.compile(r"^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/]{40,}={0,2}( [^\n\r]*)?$")
PACKAGE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,100}$")
TEMPLATE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,254}$")
CHECKSUM = re.compile(r"^(\{(MD5|SHA-?1|SHA-?224|SHA-?256|SHA-?384|SHA-?512)\})?[0-9A-Fa-f]{32,128}$")
URL = re.compile(r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(:[0-9]{1,5})?(/[A-Za-z0-9._~%/+@,=-]*)?$")
# Of a file that somebody downloads: object stores sign such addresses in their query.
FILE_URL = re.compile(URL.pattern.removesuffix("$") + r"(\?[A-Za-z0-9._~%/+@,=&:*!-]*)?$")
PRINTABLE = re.compile(r"^[\x21-\x7e]+$")
LONGEST_DURATION = timedelta(days=3650)
HOST_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$")
# CloudStack's own commands get throw-away values, so what a policy for passwords asks for is fine; quotes, $ ` \ ( ) and blanks are asking for trouble
# wherever somebody types such a password into a shell or an option file later.
SHELL_SAFE_SECRET = re.compile(r"^[A-Za-z0-9._+=@!%^,:/~*&?#-]{8,128}$")
# Validation context of a configuration that a state holds, perhaps written on another machine.
STORED = "stored"
DURATION = re.compile(r"^(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m(?:in)?)?\s*(?:(\d+)s)?$")


def parse_duration(value: object) -> object:
    """Turn `90s`, `5m`, `2h`, `1d 12h` or a number of seconds into a timedelta; leave anything else to the validator."""
    if isinstance(value, bool):
        raise ValueError("a duration is written as 90s, 5m, 2h or 1d 12h")
    if isinstance(value, int | float):
        return _limited(0, 0, 0, value)
    if isinstance(value, str) and not value.startswith("P"):  # ISO 8601, as a dumped configuration has it, is pydantic's
        match = DURATION.fullmatch(value.strip())
        if not match or not any(match.groups()):
            raise ValueError("a duration is written as 90s, 5m, 2h or 1d 12h")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return _limited(days, hours, minutes, seconds)
    return value


def _limited(days: int, hours: int, minutes: int, seconds: float) -> timedelta:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not 0 < total <= LONGEST_DURATION.total_seconds():
        raise ValueError(f"a duration is longer than nothing and at most {LONGEST_DURATION.days}d")
    return timedelta(seconds=total)


def parse_address(value: str) -> str:
    """An IP address that one machine can have."""
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("an address is an IPv4 or IPv6 address such as 192.0.2.10") from None
    if found.is_unspecified or found.is_loopback or found.is_multicast or "%" in value or str(found) == "255.255.255.255":
        raise ValueError(f"{value} is not the address of a machine that others reach; write one such as 192.0.2.10")
    return str(found)


class WrittenPath(PosixPath):
    """A path of this machine that knows how it was written: the state keeps `~/key`, and whoever continues elsewhere has their own `~`."""

    written: str = ""


def expand_path(value: object, info: ValidationInfo) -> object:
    """Expand `~` and `${NAME}` in a path; a relative one begins at the checkout.

    An environment variable that is not set is an error, not an empty text - except in what comes out of a state (`STORED`): there an undo may
    not need that path at all.
    """
    if not isinstance(value, str | Path):
        return value
    text = value.written or str(value) if isinstance(value, WrittenPath) else str(value)
    if not text or not text.isprintable():
        raise ValueError("a path is not empty and has no control characters")
    expanded = os.path.expandvars(text)
    if "${" in expanded and info.context != STORED:
        raise ValueError(f"{text} names an environment variable that is not set")
    try:
        found = WrittenPath(PROJECT / Path(expanded).expanduser())
    except RuntimeError:
        raise ValueError(f"{text} names a user whose home is not known here") from None
    found.written = text
    return found


def write_path(path: Path) -> str:
    """The path as it was written."""
    return getattr(path, "written", "") or str(path)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
LocalPath = Annotated[Path, BeforeValidator(expand_path), PlainSerializer(write_path, return_type=str)]
SERVER_PATH = re.compile(r"^(/[A-Za-z0-9_.@:+,-]+)+$")


def absolute(value: object) -> object:
    """A path on a server: it has no home there that is known here."""
    if isinstance(value, str) and not SERVER_PATH.fullmatch(value):
        raise ValueError(f"{value!r} is not a path on the servers; write it from / on, without ~ and blanks, such as /root/.my.cnf")
    return value


ServerPath = Annotated[str, BeforeValidator(absolute), Field(pattern=SERVER_PATH.pattern)]  # of a file on a server
PackageName = Annotated[str, Field(pattern=PACKAGE_NAME.pattern)]


def parse_repository(value: str) -> str:
    """An apt line, or the address of an RPM repository.

    Raises:
        ValueError: it is neither.
    """
    if not value.isprintable() or not re.fullmatch(r"deb (\[[^\]]*\] )?\S+ \S.*|(https?|file)://[^\s/]*/\S+", value):
        raise ValueError(
            "a repository is one line such as `deb https://example.org/apt jammy 4.22`, or `https://example.org/centos/9/4.22/` for dnf"
        )
    return value


RepositoryLine = Annotated[str, AfterValidator(parse_repository)]


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def usual_address(text: str) -> str:
    """An address in its usual form, `[2001:DB8::0:1]` as 2001:db8::1: others write it in several ways. A name stays as it is."""
    try:
        return ipaddress.ip_address(text.strip().removeprefix("[").removesuffix("]")).compressed
    except ValueError:
        return text


def parse_name_or_address(value: str) -> str:
    """A host name as it is, an IP address in its usual form.

    Raises:
        ValueError: it is neither.
    """
    return value if HOST_NAME.fullmatch(value) and not value.replace(".", "").isdigit() else parse_address(value)


IpAddress = Annotated[str, AfterValidator(parse_address)]
NameOrAddress = Annotated[str, AfterValidator(parse_name_or_address)]


class Phase(StrEnum):
    """Hold points of a stack, in order."""

    BUILT = "built"
    PREPARED = "prepared"
    SWITCHED = "switched"
    RETIRED = "retired"

    def reached(self, other: Phase) -> bool:
        """Whether this phase includes everything of `other`."""
        order = list(Phase)
        return order.index(self) >= order.index(other)


@functools.cache
def _annotation(model: type[BaseModel], field: str) -> object:
    """What a key's value is declared to be; asked for with each value of a stack file."""
    return model.model_fields[field].annotation


class Model(BaseModel):
    """Base of every section: unknown keys are errors, values are not coerced silently, keys are camelCase."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _not_coerced(cls, value: object, info: ValidationInfo) -> object:
        """A number in quotes, or a truth value for a number, is a slip, not a number. No command, file or statement takes a zero byte."""
        if any(isinstance(text, str) and "\0" in text for text in (value if isinstance(value, list | tuple) else [value])):
            raise ValueError("it has a zero byte in it; write it again, without that")
        wanted = _annotation(cls, info.field_name or "")
        if wanted in (int, int | None) and isinstance(value, bool | str):
            raise ValueError(f"{value!r} is not a number; write it without quotes")
        if wanted is bool and value is not None and not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false; write one of them without quotes")
        return value
