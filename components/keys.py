"""The SSH host keys of new machines, made before the machines."""

from __future__ import annotations

import pulumi

from parallel_build.components.provided import ProvidedResource

ATTRIBUTES = {"privateKey": "private_key", "publicKey": "public_key"}


class SshHostKey(ProvidedResource):
    """`cutover:index:SshHostKey`: an ed25519 key pair, made once and kept in the state; it is never made again.

    Inputs:
        name: the machine's name.
    Outputs:
        private_key: OpenSSH private key, a secret.
        public_key: `ssh-ed25519 AAAA... NAME`.
    """

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, resource_name: str, *, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        options = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["private_key"]))
        inputs = {"name": name, "private_key": None, "public_key": None}
        super().__init__("SshHostKey", resource_name, inputs, options)

    def translate_output_property(self, prop: str) -> str:
        """The attribute of one of the engine's names."""
        return ATTRIBUTES.get(prop, prop)

    def translate_input_property(self, prop: str) -> str:
        """The engine's name of an attribute."""
        return next((name for name, attribute in ATTRIBUTES.items() if attribute == prop), prop)
