"""Checking what an operator wrote: every wrong key named at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    ValidationError,
)

from parallel_build.configuration.secrets import Secrets
from parallel_build.configuration.stack import StackConfiguration
from parallel_build.configuration.values import (
    STORED,
)
from parallel_build.errors import ConfigurationError


def describe(error: ValidationError, prefix: str = "") -> str:
    """One line a finding: the key as written in the stack file, and what is wrong with it."""
    lines = []
    for finding in error.errors(include_url=False, include_input=False, include_context=False):
        key = ".".join(str(part) for part in finding["loc"]) or "configuration"
        reason = finding["msg"].removeprefix("Value error, ")
        if finding["type"] == "default_factory_not_called":  # a default that is made of a neighbour which is wrong, and reported
            continue
        if finding["type"] == "extra_forbidden":
            reason = "this key is not known here, check its spelling and its place"
        elif finding["type"] == "missing":
            reason = "this key is missing"
        lines.append(f"{prefix}{key}: {reason}")
    return "\n  ".join(lines)


def load(values: dict[str, Any], stack: str, *, stored: bool = False) -> StackConfiguration:
    """Check the stack's plain values.

    Args:
        values: the configuration values by section, keys in camelCase, without secrets.
        stack: name of the stack, for the message.
        stored: they come out of a state: paths of the machine that wrote it may not be there.
    Raises:
        ConfigurationError: names every key that is wrong, all at once.
    """
    try:
        return StackConfiguration.model_validate(
            known(values, StackConfiguration) if stored else values, context=STORED if stored else None
        )
    except ValidationError as error:
        if stored:
            raise ConfigurationError(
                f"what the state of stack {stack} holds of its configuration can't be used:\n  {describe(error)}\n",
                "it was written by another version of this project; the stack file is not to blame",
                "undo it with the version that wrote it (docs/understand/provider.md), or run `pulumi up` with this one in the present phase, which writes it "
                "again; nothing has been contacted or changed",
            ) from None
        raise ConfigurationError(
            f"stacks/Pulumi.{stack}.yaml can't be used:\n  {describe(error)}\n",
            "the whole configuration is checked before anything is done",
            "correct these keys (docs/reference/configuration.md lists them all); nothing has been contacted or changed",
        ) from None


def known(value: Any, kind: Any) -> Any:
    """A stored value without the keys that this version does not know: an earlier or a later one may have written them.

    Args:
        kind: the type that the value is to become.
    """
    if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, Mapping):
        types = {alias: info.annotation for name, info in kind.model_fields.items() for alias in (info.alias or name, name)}
        return {key: known(item, types[key]) for key, item in value.items() if key in types}
    within = get_args(kind)
    if isinstance(value, Mapping) and get_origin(kind) is dict:
        allowed = get_args(within[0]) if get_origin(within[0]) is Literal else value
        return {key: known(item, within[1]) for key, item in value.items() if key in allowed}
    if isinstance(value, list) and get_origin(kind) in (list, tuple):
        return [known(item, within[0]) for item in value]
    if isinstance(value, Mapping):
        # One of several models, or None: the one that knows most of the keys.
        models = [each for each in within if isinstance(each, type) and issubclass(each, BaseModel)]
        best = max(
            models, key=lambda each: len(set(value) & {info.alias or name for name, info in each.model_fields.items()}), default=None
        )
        return known(value, best) if best else value
    return value


def load_secrets(values: dict[str, Any], stack: str) -> Secrets:
    """Check the stack's secret values.

    Raises:
        ConfigurationError: names every secret that is missing or unfit, never its value.
    """
    try:
        return Secrets.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(
            f"the secrets of stack {stack} can't be used:\n  {describe(error)}\n",
            "all secrets are checked before anything is done",
            "set each with `pulumi config set --secret NAME` (docs/reference/configuration.md); nothing has been contacted or changed",
        ) from None
