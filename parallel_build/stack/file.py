"""A stack read without Pulumi: plain values and secrets of its stack file, host keys of new machines out of its state."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parallel_build.configuration import NewMachine, Secrets, stack_values
from parallel_build.configuration.planned_templates import with_planned
from parallel_build.errors import ConfigurationError
from parallel_build.project import PROJECT
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret, remember
from parallel_build.stack import state as stack_state
from parallel_build.stack.secrets import UNCHANGED, Decrypter, passphrase
from parallel_build.stack.state import StackState

STACK_NAME = re.compile(r"^([A-Za-z0-9_.-]+/){0,2}[A-Za-z0-9_.-]{1,100}$")
TIME_LIMIT = 60.0


class _Loader(yaml.SafeLoader):
    """YAML as Pulumi reads it: only true and false are truth values, and nothing becomes a date."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


@dataclass(frozen=True)
class Reading:
    """A stack as it was read.

    Attributes:
        site: what every step and guard works on; its host keys are those of the state.
        state: what the state says.
        file: the stack file.
    """

    site: Site
    state: StackState
    file: Path

    def unknown_keys(self) -> list[NewMachine]:
        """New machines whose host key can only be in `ssh.knownHosts`, because neither state nor stack file has it."""
        return [machine for machine in self.site.configuration.new_machines() if self.site.host_key(machine) is None]


def read_site(stack: str, *, config_file: Path | None = None) -> Site:
    """The resolved stack: see `read_stack`."""
    return read_stack(stack, config_file=config_file).site


def read_stack(stack: str, *, config_file: Path | None = None) -> Reading:
    """Read a stack from its file, its secrets with its passphrase, and its host keys from its state. Contacts no server.

    Args:
        stack: the stack's name as `pulumi stack ls` shows it.
        config_file: the stack file, when it is not the one that the project's stackConfigDir has.
    Raises:
        ConfigurationError: the file, its secrets or its values can't be used; every finding at once.
    """
    if not STACK_NAME.fullmatch(stack):
        raise ConfigurationError(
            f"{stack!r} is no name of a stack",
            "a name has letters, digits and `_.-`; organisation and project may come before it, each with a slash",
            f"give it as `pulumi stack ls` shows it; {UNCHANGED}",
        )
    project = _yaml(PROJECT / "Pulumi.yaml")
    short = stack.rpartition("/")[2]
    file = config_file or stack_file(stack)
    document, name = _yaml(file), str(project["name"])
    values = with_planned(_values(document, name, file, stack), file)
    sealed = _sealed_values(_written(document, name), values)
    configuration, secrets = stack_values.parse(values, short, sealed)
    remember([*secrets.all(), *sealed])
    state = stack_state.read(str(project["name"]), stack, PROJECT)
    return Reading(Site(short, configuration, secrets, state.host_keys, sealed, state.identities), state, file)


def written_values(stack: str, project: str, folder: Path) -> dict[str, Any]:
    """The project's values as the stack file has them, sealed parts sealed; empty where that file is not where the project has it.

    Args:
        folder: where the project's Pulumi.yaml is.
    """
    try:
        return _written(_yaml(stack_file(stack, folder)), project)
    except ConfigurationError:
        return {}


def stack_file(stack: str, folder: Path = PROJECT) -> Path:
    """Where a project keeps a stack's file."""
    place = str(_yaml(folder / "Pulumi.yaml").get("stackConfigDir", "."))
    return folder / place / f"Pulumi.{stack.rpartition('/')[2]}.yaml"


def _written(document: dict[str, Any], project: str) -> dict[str, Any]:
    prefix, config = f"{project}:", document.get("config") or {}
    return {str(key).removeprefix(prefix): value for key, value in config.items() if str(key).startswith(prefix)}


def _sealed_values(written: dict[str, Any], values: dict[str, str]) -> tuple[Secret, ...]:
    """What is sealed in the stack file and is none of the stack's named secrets."""
    found: list[Secret] = []
    for key in written.keys() & values.keys() - set(stack_values.names(Secrets)):
        if _sealed(written[key]):
            try:
                clear = json.loads(values[key])
            except json.JSONDecodeError:
                clear = values[key]
            found += stack_values.sealed_texts(written[key], clear)
    return tuple(found)


def _yaml(file: Path) -> dict[str, Any]:
    try:
        found = yaml.load(file.read_text(), _Loader)  # noqa: S506 - a SafeLoader's child
    except OSError as error:
        raise ConfigurationError(
            f"{file} can't be read",
            os.strerror(error.errno or 0),
            f"name the stack as its file is named, or the file with --config-file; {UNCHANGED}",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} is not YAML", " ".join(str(error).split()), f"correct it; {UNCHANGED}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{file} is empty", "a stack file has a section `config`", f"start from stacks/*.example; {UNCHANGED}")
    return found


def _values(document: dict[str, Any], project: str, file: Path, stack: str) -> dict[str, str]:
    """Every value of the project in the clear, by its name without the project's, objects as JSON texts."""
    config = document.get("config") or {}
    if not isinstance(config, dict):
        raise ConfigurationError(
            f"`config` in {file} is no section", "it must hold the stack's values", f"start from stacks/*.example; {UNCHANGED}"
        )
    found = _written(document, project)
    stack_values.refuse_clear(found, {name for name, value in found.items() if _sealed(value)}, str(file))
    if any(_sealed(value) for value in found.values()):
        if "encryptionsalt" not in document:
            return _from_cli(project, file, stack)
        decrypter = Decrypter(str(document["encryptionsalt"]), passphrase(str(file)), str(file))
        found = {key: _opened(value, key, decrypter) for key, value in found.items()}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}


def _sealed(value: Any) -> bool:
    if isinstance(value, dict):
        return set(value) == {stack_values.SECURE} or any(_sealed(item) for item in value.values())
    return isinstance(value, list) and any(_sealed(item) for item in value)


def _opened(value: Any, key: str, decrypter: Decrypter) -> Any:
    """The value with everything sealed in it opened."""
    if isinstance(value, dict):
        if set(value) == {stack_values.SECURE}:
            return decrypter.open(str(value[stack_values.SECURE]), key).reveal()
        return {name: _opened(item, f"{key}.{name}", decrypter) for name, item in value.items()}
    if isinstance(value, list):
        return [_opened(item, f"{key}[{place}]", decrypter) for place, item in enumerate(value)]
    return value


def _from_cli(project: str, file: Path, stack: str) -> dict[str, str]:
    """The values by the Pulumi CLI, for secrets that only it can open (a cloud's key service, Pulumi Cloud)."""
    words = ["pulumi", "--non-interactive", "config", "--show-secrets", "--json", "--stack", stack, "--config-file", str(file)]
    try:
        done = subprocess.run(words, cwd=PROJECT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(
            f"the secrets of {file} can't be decrypted",
            f"they are not sealed with a passphrase, and the Pulumi CLI does not open them: {error}",
            f"install it (scripts/setup, then . scripts/environment); {UNCHANGED}",
        ) from None
    if done.returncode != 0:
        raise ConfigurationError(
            f"the secrets of {file} can't be decrypted",
            f"`pulumi config --show-secrets` says: {' | '.join(done.stderr.strip().splitlines()[-3:])}",
            f"log in to the backend and the secrets provider as for `pulumi up`; {UNCHANGED}",
        )
    prefix = f"{project}:"
    found: dict[str, str] = {}
    for key, item in json.loads(done.stdout).items():
        if key.startswith(prefix):
            value = item.get("objectValue", item.get("value"))
            found[key.removeprefix(prefix)] = value if isinstance(value, str) else json.dumps(value)
    return found
