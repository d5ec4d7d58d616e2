"""SshHostKey: a machine's SSH host key, made before the machine, so that host key checking is strict from the first connection."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from parallel_build.provider.handler import Finding, Handler
from parallel_build.provider.session import Operation
from parallel_build.provider.values import Values


class SshHostKeyHandler(Handler):
    """Inputs: `name` of the machine. Outputs: `name`, `privateKey` (secret, OpenSSH format), `publicKey` (`ssh-ed25519 AAAA... name`)."""

    secret_outputs = ("privateKey",)

    def check(self, operation: Operation, inputs: Values) -> list[Finding]:
        """A name must be there."""
        return [] if inputs.get("name") else [Finding("name", "the machine's name is missing")]

    def changes(self, old_inputs: Values, old_outputs: Values, inputs: Values) -> list[str]:
        """The name is a comment; a key is never recreated."""
        return [] if old_inputs.get("name") == inputs.get("name") else ["name"]

    def create(self, operation: Operation, inputs: Values) -> tuple[str, Values]:
        """Make the key pair."""
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        name = str(inputs["name"])
        return f"SshHostKey/{name}", self._outputs(name, private.decode(), public.decode())

    def update(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> Values:
        """Change the comment only."""
        public = " ".join(str(old_outputs["publicKey"]).split()[:2])
        return self._outputs(str(inputs["name"]), str(old_outputs["privateKey"]), public)

    def delete(self, operation: Operation, inputs: Values, outputs: Values) -> None:
        """The key is nowhere but in the state."""

    @staticmethod
    def _outputs(name: str, private: str, public: str) -> Values:
        return {"name": name, "privateKey": private, "publicKey": f"{public} {name}"}
