"""A stack's values as Pulumi has them, checked in full: by the program, and by commands that read the stack file themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from parallel_build.configuration import Secrets, StackConfiguration, load, load_secrets
from parallel_build.configuration.secrets import too_long
from parallel_build.errors import ConfigurationError
from parallel_build.secret import Secret, mask

TEXT_SECTIONS = ("phase", "runs")
SECURE = "secure"  # how Pulumi marks a sealed value in the stack file
ALIKE = 0.75  # of two words' letters: `tranfer`, `hypervisorStep`, `original_` are slips, `dnsZone` is not
REMEDY = "docs/reference/configuration.md lists every key; nothing has been contacted or changed"


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


def sealed_texts(written: object, value: object) -> list[Secret]:
    """The clear texts of what is sealed in a value.

    Args:
        written: the value as the stack file has it, sealed parts as `{secure: ...}`; None where that is not known.
        value: the same in the clear.
    Returns:
        the sealed texts; all texts of the value where the two do not fit together, since any of them may be one.
    """
    if isinstance(written, Mapping) and set(written) == {SECURE}:
        return [Secret(text) for text in _texts(value)]
    if isinstance(written, Mapping) and isinstance(value, Mapping) and set(written) == set(value):
        return [found for key in value for found in sealed_texts(written[key], value[key])]
    if isinstance(written, list) and isinstance(value, list) and len(written) == len(value):
        return [found for one, other in zip(written, value, strict=True) for found in sealed_texts(one, other)]
    if written is None or isinstance(written, Mapping | list) or isinstance(value, Mapping | list):
        return [Secret(text) for text in _texts(value)]
    return []


def _texts(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def own_keys(given: Iterable[str]) -> set[str]:
    """Keys that are none of this project's: another program's own, which are left alone. One that is nearly a key of ours is a slip of the pen."""
    ours = {*names(Secrets), *names(StackConfiguration)}
    return {name for name in given if name not in ours and not get_close_matches(name.lower(), [each.lower() for each in ours], 1, ALIKE)}


def parse(values: Mapping[str, str], stack: str, hidden: Sequence[Secret] = ()) -> tuple[StackConfiguration, Secrets]:
    """Check plain and secret values together.

    Args:
        values: as Pulumi has them, objects as JSON texts.
        stack: name of the stack, for the message.
        hidden: sealed values that a finding must not show.
    Raises:
        ConfigurationError: names every key and every secret that is missing or wrong, all at once.
    """
    secret_names = set(names(Secrets))
    findings, plain = [], {}
    left_alone = own_keys(values)
    for name, value in values.items():
        if name in secret_names or name in left_alone:
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
    if configuration is not None and secrets is not None:
        findings += too_long(secrets, configuration.new.database.engine)
    if configuration is None or secrets is None or findings:
        raise ConfigurationError(
            mask("\n".join(findings), hidden) + "\n", "all values are checked before anything is done", f"correct these; {REMEDY}"
        )
    return configuration, secrets
