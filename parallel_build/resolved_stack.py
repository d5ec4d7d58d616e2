"""A stack resolved: its configuration, secrets, and the host keys of machines that have been made.

A `Site` is what every step works on. It travels from the Pulumi program through the engine to the provider as one secret JSON text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from parallel_build.configuration import Secrets, Server, StackConfiguration, known, load, load_secrets
from parallel_build.secret import Secret


@dataclass(frozen=True)
class Site:
    """Everything a step needs to know.

    Attributes:
        stack: name of the Pulumi stack.
        configuration: what the operator wrote.
        secrets: the secret values.
        host_keys: public SSH host keys of new machines by name; they win over `Server.host_key`.
        sealed: every other value that was sealed in the stack file, wherever it stood.
        known_as: identities that are kept in the stack's state; empty in a state of an earlier version.
    """

    stack: str
    configuration: StackConfiguration
    secrets: Secrets
    host_keys: dict[str, str] = field(default_factory=dict)
    sealed: tuple[Secret, ...] = ()
    known_as: tuple[str, ...] = ()

    def hidden(self) -> list[Secret]:
        """Every value that must not be shown: the stack's secrets, and whatever else its operator has sealed."""
        return [*self.secrets.all(), *self.sealed]

    def host_key(self, server: Server) -> str | None:
        """The server's public host key where it is known to the stack, else None (then `ssh.knownHosts` must have it)."""
        return self.host_keys.get(server.name) or server.host_key

    @property
    def identity(self) -> str:
        """What tells this stack from any other, made once: it holds whatever its operator changes later. The window's record gets it."""
        return self.identities[0]

    @property
    def identities(self) -> tuple[str, ...]:
        """What windows of this stack may be known by, the present one first.

        Up to version 1 of the record an identity was derived from what may change (`derived_identity`). A state of that time has no other; one
        that was continued since keeps the derived one of that moment.
        """
        return self.known_as or (self.derived_identity(),)

    def derived_identity(self) -> str:
        """The identity as earlier versions of this project had it: of the stack's name, its secrets and its machines' host keys."""
        parts = [self.stack, self.secrets.management_key.reveal(), self.secrets.cloud_password.reveal()]
        lasting = {machine.name for machine in self.configuration.new_machines()}
        parts += [f"{name}={key}" for name, key in sorted(self.host_keys.items()) if name in lasting]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

    def to_json(self) -> str:
        """The site as a JSON text **with its secrets in the clear**: only for a secret input of a resource."""
        secrets = {
            alias: value.reveal()
            for name, info in Secrets.model_fields.items()
            if (alias := info.alias or name) and isinstance(value := getattr(self.secrets, name), Secret)
        }
        document: dict[str, Any] = {
            "stack": self.stack,
            "configuration": self.configuration.model_dump(mode="json", by_alias=True),
            "secrets": secrets,
            "hostKeys": self.host_keys,
            "sealed": [value.reveal() for value in self.sealed],
            "knownAs": list(self.known_as),
        }
        return json.dumps(document, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Site:
        """Read back what `to_json` wrote.

        Raises:
            ConfigurationError: the text was written for another version of this project's configuration.
        """
        document = json.loads(text)
        stack = document["stack"]
        return cls(
            stack,
            load(document["configuration"], stack, stored=True),
            load_secrets(known(document["secrets"], Secrets), stack),
            document["hostKeys"],
            tuple(Secret(text) for text in document.get("sealed", ())),
            tuple(document.get("knownAs", ())),
        )
