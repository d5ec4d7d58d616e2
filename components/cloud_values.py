"""The arguments of a cloud, checked in full: as the configuration is, with outputs where they may stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
from pydantic import BaseModel, ValidationError

from parallel_build.components.arguments import NOTHING, ArgumentsRefused, expected, refused
from parallel_build.components.cloud_args import CloudArgs, CloudSecrets
from parallel_build.components.own import Brought
from parallel_build.components.settings import Settings, operator_key
from parallel_build.configuration import Secrets, StackConfiguration, describe
from parallel_build.errors import ConfigurationError
from parallel_build.secret import Secret

SNAKE = re.compile(r"(?<=[a-z])[A-Z]")  # the arguments are written as Python's names


def read(name: str, label: str, args: CloudArgs, brought: Brought) -> tuple[Settings, pulumi.Output[dict[str, str]] | None]:
    """The settings of a cloud.

    Args:
        name: the component's name, for messages.
        label: the name that everything outside of Pulumi bears.
        args: what the program gave.
        brought: is filled with the program's own machines.
    Returns:
        the settings, and the secrets as one output where any of them is one; else None.
    Raises:
        ArgumentsRefused: names every argument that is wrong.
    """
    sections = _with_machines({key: plain(value) for key, value in args.sections().items()}, brought)
    late = sorted(set(_outputs(sections)))
    if late:
        raise refused(
            "Cloud", name, ", ".join(f"args.{path}" for path in late), "is an Output",
            "plans and checks are made from it while the program runs; only secrets, addresses and host keys of new machines may be outputs",
            "give it a value",
        )  # fmt: skip
    try:
        configuration = StackConfiguration.model_validate(sections)
    except ValidationError as error:
        raise ArgumentsRefused(
            f"Cloud {name!r}:\n  {describe(error, 'args.')}\n",
            "all arguments are checked before anything is done",
            f"correct these (docs/reference/configuration.md has every key); {NOTHING}",
        ) from None
    _addresses_together(name, configuration, brought)
    secrets, later = _secrets(name, args)
    sealed = tuple(Secret(text) for text in args.sealed)
    return Settings(label, configuration, secrets, _operator_key(name, args, configuration), sealed), later


def plain(value: Any) -> Any:
    """A section without the models of `parallel_build.configuration`."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _with_machines(sections: dict[str, Any], brought: Brought) -> dict[str, Any]:
    new, rehearsal = sections.get("new"), sections.get("rehearsal")
    if isinstance(new, Mapping):
        new = dict(new)
        if isinstance(new.get("management"), list):
            new["management"] = [brought.written(machine) for machine in new["management"]]
        if isinstance(new.get("database"), Mapping):
            database = dict(new["database"])
            new["database"] = database | {part: brought.written(database[part]) for part in ("source", "replica") if part in database}
        sections["new"] = new
    if isinstance(rehearsal, Mapping) and "machine" in rehearsal:
        sections["rehearsal"] = {**rehearsal, "machine": brought.written(rehearsal["machine"])}
    return sections


def _outputs(value: Any, path: str = "") -> Iterator[str]:
    """Places of outputs."""
    if isinstance(value, pulumi.Output):
        yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _outputs(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _outputs(item, f"{path}[{place}]")


def _addresses_together(name: str, configuration: StackConfiguration, brought: Brought) -> None:
    """Rule: machines that are built get the addresses of all others when they are made, so those must be known."""
    built = [machine.name for machine in configuration.built_machines() if configuration.platform_of(machine) != "existing"]
    if brought.addresses and built:
        raise refused(
            "Cloud", name, f"args.new: the address of {', '.join(brought.addresses)}", "is an Output",
            f"{', '.join(built)} would be built with it before it is known", "give that machine a fixed address, or bring all machines yourself",
        )  # fmt: skip


def _secrets(name: str, args: CloudArgs) -> tuple[Secrets | None, pulumi.Output[dict[str, str]] | None]:
    given = expected("Cloud", name, "args.secrets", args.secrets, CloudSecrets).given()
    if any(isinstance(value, pulumi.Output) for value in given.values()):
        return None, pulumi.Output.secret(pulumi.Output.all(**given))
    return checked_secrets(name, given), None


def checked_secrets(name: str, given: Mapping[str, Any]) -> Secrets:
    """The secrets, each fit for what it is for.

    Raises:
        ArgumentsRefused: names each that is not, never its value.
    """
    try:
        return Secrets.model_validate(dict(given))
    except ValidationError as error:
        findings = SNAKE.sub(lambda found: f"_{found[0].lower()}", describe(error, "args.secrets."))
        raise ArgumentsRefused(
            f"Cloud {name!r}:\n  {findings}\n", "each secret is handed to a program with rules of its own",
            f"correct these (docs/reference/configuration.md has the rules); {NOTHING}",
        ) from None  # fmt: skip


def _operator_key(name: str, args: CloudArgs, configuration: StackConfiguration) -> str:
    if args.operator_key is not None:
        return args.operator_key
    if all(configuration.platform_of(machine) == "existing" for machine in configuration.built_machines()):
        return ""  # nothing is built, so nobody has to be let in
    try:
        return operator_key(configuration.ssh)
    except ConfigurationError as error:
        raise ArgumentsRefused(f"Cloud {name!r}: args.{error.fact}", error.cause, error.remedy) from None
