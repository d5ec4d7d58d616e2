"""A text that cannot be printed, formatted, logged or pickled in the clear."""

from __future__ import annotations

import base64
import hmac
import html
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

MASK = "[secret]"


class Secret:
    """Holds a secret text; only `reveal()` gives it back.

    `str()`, `repr()`, `format()` and f-strings give a mask, pickling raises TypeError, equality takes constant time.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        self._value: str = value._value if isinstance(value, Secret) else value

    def reveal(self) -> str:
        """Return the clear text; call it only where it leaves for its destination."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: it would be stored in the clear")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept a text or a Secret; serialise as the mask, so that a model dump never holds the clear text."""
        return core_schema.no_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: MASK),
        )

    @classmethod
    def _validate(cls, value: Any) -> Secret:
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls(value)
        raise ValueError("a secret must be a text")


# Whoever writes an address of a server with an account in it has written a password. Some repositories take a token for the account, with no password or
# an empty one.
CREDENTIALS = re.compile(r"(?<=://)(?:[^\s/?#@:'\"]*:[^\s/?#@'\"]*|[A-Za-z0-9_-]{20,})(?=@)")
SHORTEST = 4  # characters: shorter texts are in every other word


def has_credentials(text: str) -> bool:
    """Whether there is a URL in a text with a password or a token in it."""
    return CREDENTIALS.search(text) is not None


def mask(text: str, secrets: Sequence[Secret]) -> str:
    """Replace each secret that occurs in `text`, however it is written there, and the credentials of any URL.

    A secret is also looked for as shells, JSON, Python, SQL, HTML and URLs write it: a text is often put together before it is masked.
    """
    forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret.reveal())}
    for form in sorted(forms, key=len, reverse=True):  # longest first, so that one inside another leaves no rest
        text = text.replace(form, MASK)
    return CREDENTIALS.sub(MASK, text)


_OPENED: set[Secret] = set()


def remember(opened: Sequence[Secret]) -> None:
    """Note what this process has opened, so that its last words can be masked wherever they come from."""
    _OPENED.update(opened)


def remembered() -> list[Secret]:
    """Every secret that this process has opened."""
    return list(_OPENED)


def masked(value: Any, secrets: Sequence[Secret]) -> Any:
    """The same value with every text in it masked; keys included."""
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, Mapping):
        return {mask(str(key), secrets): masked(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item, secrets) for item in value]
    return value


@lru_cache(maxsize=1024)
def _forms(clear: str) -> frozenset[str]:
    """How a text may stand in a longer one."""
    json_text, json_ascii = json.dumps(clear, ensure_ascii=False)[1:-1], json.dumps(clear)[1:-1]
    shell = shlex.quote(clear)
    written = {
        clear,
        shell[1:-1] if shell != clear else clear,
        json_text,
        json_ascii,
        json.dumps(json_text, ensure_ascii=False)[1:-1],
        json.dumps(json_ascii)[1:-1],
        repr(clear)[1:-1],
        clear.replace("\\", "\\\\").replace("'", "\\'"),
        clear.replace("'", "''"),
        html.escape(clear),
        quote(clear, safe=""),
        quote(clear),
        quote_plus(clear),
        base64.b64encode(clear.encode()).decode(),
    }
    return frozenset(form for form in written if len(form) >= SHORTEST)
