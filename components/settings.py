"""The stack's configuration as the program gets it from Pulumi: read, checked in full, and refused in words.

Every section of `StackConfiguration` is one configuration value of the project; every field of `Secrets` is one secret of the same name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env, get_config_secret_keys_env

from parallel_build.configuration import Secrets, Ssh, StackConfiguration
from parallel_build.configuration.planned_templates import with_planned
from parallel_build.configuration.stack_values import REMEDY, TEXT_SECTIONS, names, parse, refuse_clear, sealed_texts
from parallel_build.errors import ConfigurationError
from parallel_build.secret import Secret
from parallel_build.stack.file import stack_file, written_values


@dataclass(frozen=True)
class Settings:
    """What the operator wrote.

    Attributes:
        stack: name of the Pulumi stack.
        configuration: the checked configuration.
        secrets: the checked secrets; None where one of them is an output, and so not known while the program runs.
        operator_key: the operator's public SSH key, put on every machine that the stack makes.
        sealed: whatever else is sealed in the stack file, wherever it stands.
    """

    stack: str
    configuration: StackConfiguration
    secrets: Secrets | None
    operator_key: str
    sealed: tuple[Secret, ...] = ()

    def hidden(self) -> list[Secret]:
        """What is known now and no text for a reader may show."""
        return [*(self.secrets.all() if self.secrets else ()), *self.sealed]


def project_values(project: str) -> dict[str, str]:
    """Every configuration value of the project, secrets in the clear, by its name without the project's."""
    values: dict[str, Any] = {**get_config_env(), **CONFIG.get()}
    prefix = f"{project}:"
    return {key.removeprefix(prefix): str(value) for key, value in values.items() if key.startswith(prefix)}


def operator_key(ssh: Ssh) -> str:
    """The operator's public key: `ssh.publicKeyFile`, else the identity file's own.

    Raises:
        ConfigurationError: there is none, or the file is no public key.
    """
    path = ssh.public_key_file
    if path is None and ssh.identity_file is not None:
        path = Path(f"{ssh.identity_file}.pub")
    if path is None:
        raise ConfigurationError(
            "ssh.publicKeyFile is missing",
            "new machines must let the operator in, and neither it nor ssh.identityFile is set",
            f"set one of them; {REMEDY}",
        )
    try:
        key = path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(
            f"ssh.publicKeyFile: {path} can't be read", os.strerror(error.errno or 0), f"name the public key's file; {REMEDY}"
        ) from None
    if len(key.splitlines()) != 1 or not key.startswith(("ssh-", "ecdsa-", "sk-")):
        raise ConfigurationError(
            f"ssh.publicKeyFile: {path} is not one OpenSSH public key",
            "such a file has one line, which begins with ssh-, ecdsa- or sk-",
            f"name a file such as ~/.ssh/id_ed25519.pub; {REMEDY}",
        )
    return key


def read_settings() -> Settings:
    """The settings of the running Pulumi program.

    Raises:
        ConfigurationError: they can't be used.
    """
    stack, project = pulumi.get_stack(), pulumi.get_project()
    values = project_values(project)
    refuse_clear(values, (key.removeprefix(f"{project}:") for key in get_config_secret_keys_env()), f"Pulumi.{stack}.yaml")
    sealed = sealed_values(values, project, stack)
    values = planned(values, stack)
    configuration, secrets = parse(values, stack, sealed)
    return Settings(stack, configuration, secrets, operator_key(configuration.ssh), sealed)


def planned(values: dict[str, str], stack: str) -> dict[str, str]:
    """The values with the templates that a plan wrote next to the stack file, where there is one in the form that this project reads."""
    try:
        place = stack_file(stack, project_folder())
    except ConfigurationError:  # a program of the user's own, with a project file of another form
        return values
    return with_planned(values, place)


def project_folder() -> Path:
    """The folder of the running program's project."""
    return Path(pulumi.get_root_directory() or Path.cwd())  # older language hosts do not name it


def sealed_values(values: Mapping[str, str], project: str, stack: str) -> tuple[Secret, ...]:
    """What is sealed in a section: Pulumi only reports which sections have such a part, the stack file has its place."""
    sections = {key.removeprefix(f"{project}:") for key in get_config_secret_keys_env()} - set(names(Secrets))
    written = written_values(stack, project, project_folder()) if sections else {}
    return tuple(
        found
        for section in sorted(sections & set(values))
        for found in sealed_texts(written.get(section), values[section] if section in TEXT_SECTIONS else _decoded(values[section]))
    )


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


__all__ = ["Settings", "names", "operator_key", "parse", "project_values", "read_settings"]
