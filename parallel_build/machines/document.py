"""A machine's provisioning as one JSON text: how it travels from the Pulumi program to the provider, as a secret."""

from __future__ import annotations

import json
from typing import Any

from parallel_build.errors import ConfigurationError
from parallel_build.machines.provisioning import File, Provisioning
from parallel_build.secret import Secret

SECRET = "secret"  # noqa: S105 - a key of the document


def dump(provisioning: Provisioning) -> str:
    """The provisioning **with its secrets in the clear**: only for a secret input of a resource."""

    def open_secret(value: object) -> dict[str, str]:
        if isinstance(value, Secret):
            return {SECRET: value.reveal()}
        raise TypeError(f"{type(value).__name__} has no place in a provisioning")

    # Not dataclasses.asdict: it copies values, and a Secret is not copied.
    fields = {**vars(provisioning), "files": [vars(file) for file in provisioning.files]}
    return json.dumps(fields, sort_keys=True, default=open_secret)


def load(text: str) -> Provisioning:
    """Read back what `dump` wrote.

    Raises:
        ConfigurationError: the text was written by another version of this project.
    """
    try:
        document: dict[str, Any] = json.loads(text, object_hook=_close_secret)
        files = tuple(File(**file) for file in document.pop("files"))
        lists = {name: tuple(value) for name, value in document.items() if isinstance(value, list)}
        return Provisioning(**{**document, **lists, "files": files})
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            "a machine's provisioning can't be read",
            "it was written by another version of this project",
            "run `pulumi up` again",
        ) from None


def _close_secret(value: dict[str, Any]) -> Any:
    return Secret(value[SECRET]) if set(value) == {SECRET} else value
