"""CloudStack versions: three or four numbers, compared as numbers, and the build of a vendor or of a patch behind them."""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

LEADING = 4  # the first number of every release up to 4.23


@total_ordering
class CloudStackVersion:
    """A release such as 4.22.1.0 or 24.0.0; `4.9` and `4.9.0` are filled up with zeros, a security release has a fourth number.

    After 4.23 the leading 4 goes: the next feature release is 24.0.0, and is written with three numbers [CloudStack pull requests 14033 and 14041].

    CloudStack itself compares the numbers alone, and so do `==` and `<`: a suffix such as `-SNAPSHOT` or a vendor's `-acme2` is a build of the same
    version, with the same schema and other code (`same_build`).

    Attributes:
        numbers: four.
        build: the suffix without its hyphen; empty for Apache's own release.
    Raises:
        ValueError: the text is not two to four numbers with dots.
    """

    __slots__ = ("build", "numbers")

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"^(\d+(?:\.\d+){1,3})(?:-([A-Za-z0-9.-]+))?$", text)
        if not match:
            raise ValueError(f"{text!r} is not a CloudStack version such as 4.22.1.0")
        numbers = [int(part) for part in match[1].split(".")]
        self.numbers = tuple(numbers + [0] * (4 - len(numbers)))
        self.build = str(match[2] or "")

    def __str__(self) -> str:
        shown = self.numbers if self.numbers[0] <= LEADING or self.numbers[3] else self.numbers[:3]
        return ".".join(str(number) for number in shown)

    @property
    def full(self) -> str:
        """The numbers and the build, as an operator writes them."""
        return f"{self}-{self.build}" if self.build else str(self)

    def same_build(self, other: CloudStackVersion) -> bool:
        """Whether it is the same version of the same build."""
        return self == other and self.build == other.build

    def __repr__(self) -> str:
        return f"CloudStackVersion({self.full!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CloudStackVersion) and self.numbers == other.numbers

    def __lt__(self, other: CloudStackVersion) -> bool:
        return self.numbers < other.numbers

    def __hash__(self) -> int:
        return hash(self.numbers)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any) -> CloudStackVersion:
            if isinstance(value, CloudStackVersion):
                return value
            if not isinstance(value, str):
                raise ValueError("a version is a text such as '4.22.1.0' (in quotes)")
            return cls(value)

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(lambda version: version.full)
        )


def is_version(text: object, version: CloudStackVersion, *, exact: bool = False) -> bool:
    """Whether a server's word for its version is this one; a text that is none is no version.

    Args:
        exact: the build counts, too.
    """
    try:
        found = CloudStackVersion(str(text))
    except ValueError:
        return False
    return found.same_build(version) if exact else found == version
