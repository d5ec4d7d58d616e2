"""The SSH host keys of new machines, made before the machines."""

from __future__ import annotations

import pulumi


class SshHostKey(pulumi.CustomResource):
    """`cutover:index:SshHostKey`: an ed25519 key pair, made once and kept in the state; it is never made anew.

    Inputs:
        name: the machine's name.
    Outputs:
        private_key: OpenSSH private key, a secret.
        public_key: `ssh-ed25519 AAAA... NAME`.
    """

    def __init__(self, resource_name: str, *, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        options = pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
        )
        super().__init__(
            "cutover:index:SshHostKey", resource_name, {"name": name, "private_key": None, "public_key": None}, options
        )

    @property
    @pulumi.getter(name="privateKey")
    def private_key(self) -> pulumi.Output[str]:
        """The private key."""
        value: pulumi.Output[str] = pulumi.get(self, "private_key")
        return value

    @property
    @pulumi.getter(name="publicKey")
    def public_key(self) -> pulumi.Output[str]:
        """The public key."""
        value: pulumi.Output[str] = pulumi.get(self, "public_key")
        return value
