"""Values between the engine and the handlers: protobuf structs, unknowns, secrets.

The provider takes secrets in the clear (`acceptSecrets=False`): the engine marks outputs of the same name as a secret input by itself.
Outputs that hold a secret of their own are wrapped here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2

Values = dict[str, Any]

# How an unknown value is written, by kind [pulumi sdk/go/common/resource/plugin/rpc.go].
UNKNOWNS = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # text
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # list
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - how the engine marks a secret


def from_struct(struct: struct_pb2.Struct | None) -> Values:
    """The values of a struct; whole numbers become int, because protobuf knows only floats."""
    if struct is None:
        return {}
    values: Values = _whole(json_format.MessageToDict(struct))
    return values


def to_struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """The struct of plain values (texts, numbers, booleans, None, lists, dicts)."""
    return json_format.ParseDict(dict(values), struct_pb2.Struct())


def is_unknown(value: Any) -> bool:
    """Whether the value, or anything in it, is not known yet (previews only)."""
    if isinstance(value, str):
        return value in UNKNOWNS
    if isinstance(value, Mapping):
        return any(is_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(is_unknown(item) for item in value)
    return False


def with_secrets(outputs: Values, names: Collection[str]) -> Values:
    """Mark the named outputs as secrets, so that they never are plain values in the state."""
    return {name: {SIGNATURE_KEY: SECRET_SIGNATURE, "value": value} if name in names else value for name, value in outputs.items()}


def plain(value: Any) -> Any:
    """Evidence as JSON has it: anything that is neither text, number, boolean, None, list nor dict becomes its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value
