"""Checking what an operator wrote: every wrong key named at once."""

from __future__ import annotations

from typing import Any

from pydantic import (
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
        return StackConfiguration.model_validate(values, context=STORED if stored else None)
    except ValidationError as error:
        raise ConfigurationError(
            f"stacks/Pulumi.{stack}.yaml can't be used:\n  {describe(error)}\n",
            "the whole configuration is checked before anything is done",
            "correct these keys (docs/configuration.md lists them all); nothing has been contacted or changed",
        ) from None


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
            "set each with `pulumi config set --secret NAME` (docs/configuration.md); nothing has been contacted or changed",
        ) from None
