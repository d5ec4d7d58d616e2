"""Java's `.properties` files of CloudStack: read as java.util.Properties reads them, single values replaced, every other line kept.

The grammar (escapes, continued lines, `:` or a blank as separator, the last of several lines wins) is javaproperties'. A file's bytes are ISO-8859-1
[java.util.Properties.load(InputStream), which CloudStack uses for all of them].
"""

from __future__ import annotations

import re

import javaproperties

from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access

DB_PROPERTIES = "/etc/cloudstack/management/db.properties"
KEY_FILE = "/etc/cloudstack/management/key"
ENCODING = "iso-8859-1"
ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}


def decode(raw: bytes) -> str:
    """A file's text as Java takes its bytes; `encode` gives the same bytes back."""
    return raw.decode(ENCODING)


def encode(text: str) -> bytes:
    """A file's bytes."""
    return text.encode(ENCODING)


def parse(text: str) -> dict[str, str]:
    """Every key with its value.

    Raises:
        StepFailed: a `\\u` without four hexadecimal digits, on which Java gives the whole file up.
    """
    return dict(_pairs(text))


def read(host: Access, path: str) -> dict[str, str] | None:
    """A server's file; None where there is none.

    Raises:
        StepFailed: Java can't read it.
    """
    raw = host.read(path)
    return None if raw is None else parse_of(host, path, decode(raw))


def parse_of(host: Access, path: str, text: str) -> dict[str, str]:
    """Every key of a server's file with its value.

    Raises:
        StepFailed: Java can't read it; the error names server and file.
    """
    try:
        return parse(text)
    except StepFailed as error:
        raise StepFailed(f"{host.name}: {path}: {error.fact}", error.cause, error.remedy) from None


def replace(text: str, values: dict[str, str], where: str = "db.properties") -> str:
    """Replace the values of keys that are there, on each of their lines; everything else stays as it is, character by character.

    Args:
        text: the file's.
        values: by their keys.
        where: server and file, for the error.
    Raises:
        StepFailed: one of the keys is not there, so this is not the file it is taken for.
    """
    missing = set(values) - set(parse(text))
    if missing:
        raise StepFailed(
            f"{where} has no {', '.join(sorted(missing))}",
            "it is not the file that cloudstack-setup-databases writes",
            "see whether its package is whole there: `dpkg --verify cloudstack-management`, or `rpm -V cloudstack-management`",
        )
    return "".join(
        f"{_escaped_key(element.key)}={escaped(values[element.key])}{_ending(element.source)}"
        if isinstance(element, javaproperties.KeyValue) and element.key in values
        else element.source
        for element in javaproperties.parse(text)
    )


def without(text: str, key: str) -> str:
    """The text without the lines of a key."""
    kept = (element for element in javaproperties.parse(text) if not (isinstance(element, javaproperties.KeyValue) and element.key == key))
    return "".join(element.source for element in kept)


def escaped(value: str) -> str:
    """A value as it is written: only what would be read as another value is escaped, since CloudStack's own scripts read lines without escapes."""
    shown = "".join(ESCAPED.get(character, _unicode(character)) for character in value)
    return f"\\{shown}" if shown.startswith(" ") else shown


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return [(each.key, each.value) for each in javaproperties.parse(text) if isinstance(each, javaproperties.KeyValue)]
    except javaproperties.InvalidUEscapeError as error:
        raise StepFailed(
            f"{error.escape} is no character",
            "Java gives a properties file up at a \\u without four hexadecimal digits, and CloudStack starts without its values",
            "write four digits after it, or two backslashes where one is meant",
        ) from None


def _escaped_key(key: str) -> str:
    return re.sub(r"([=: #!])", r"\\\1", "".join(ESCAPED.get(character, _unicode(character)) for character in key))


def _unicode(character: str) -> str:
    if ord(character) < 0x100:
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _ending(source: str) -> str:
    """The line end that closes a pair's own last line; none at the end of a file without one."""
    return next((end for end in ("\r\n", "\n", "\r") if source.endswith(end)), "")
