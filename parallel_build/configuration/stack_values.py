"""A stack's values as Pulumi has them, checked in full: by the program, and by commands that read the stack file themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from parallel_build.configuration import Secrets, StackConfiguration, load, load_secrets
from parallel_build.errors import ConfigurationError

TEXT_SECTIONS = ("phase", "runs")
REMEDY = "docs/configuration.md lists every key; nothing has been contacted or changed"


def names(model: type[Secrets | StackConfiguration]) -> list[str]:
    """The keys of a model as they are written in the stack file."""
    return [info.alias or name for name, info in model.model_fields.items()]


def refuse_clear(given: Iterable[str], sealed: Iterable[str], where: str) -> None:
    """Rule: a secret is sealed in the stack file, never written in the clear.

    Args:
        given: names of the values that the stack has.
        sealed: those of them that are sealed.
        where: the stack file, for the message.
    Raises:
        ConfigurationError: names each that is in the clear.
    """
    clear = sorted(set(names(Secrets)) & set(given) - set(sealed))
    if clear:
        raise ConfigurationError(
            f"{', '.join(clear)} in {where} {'is' if len(clear) == 1 else 'are'} in the clear",
            "anybody who reads the file has it",
            f"pulumi config set --secret {clear[0]}, and change what was exposed; nothing has been contacted or changed",
        )


def parse(values: Mapping[str, str], stack: str) -> tuple[StackConfiguration, Secrets]:
    """Check plain and secret values together.

    Args:
        values: as Pulumi has them, objects as JSON texts.
        stack: name of the stack, for the message.
    Raises:
        ConfigurationError: names every key and every secret that is missing or wrong, all at once.
    """
    secret_names = set(names(Secrets))
    findings, plain = [], {}
    for name, value in values.items():
        if name in secret_names:
            continue
        try:
            plain[name] = value if name in TEXT_SECTIONS else json.loads(value)
        except json.JSONDecodeError:
            plain[name] = value
    configuration = secrets = None
    try:
        configuration = load(plain, stack)
    except ConfigurationError as error:
        findings.append(error.fact.strip())
    try:
        secrets = load_secrets({name: value for name, value in values.items() if name in secret_names}, stack)
    except ConfigurationError as error:
        findings.append(error.fact.strip())
    if configuration is None or secrets is None:
        raise ConfigurationError("\n".join(findings) + "\n", "all values are checked before anything is done", f"correct these; {REMEDY}")
    return configuration, secrets
