"""The SSH keys with which the management server and KVM hosts reach system VMs.

They are rows of `configuration`; the server writes the private one into the home of its user. Where the database has
none they are made. [CloudStack 4.22 ConfigurationServerImpl.updateKeyPairs]
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from . import configuration
from .server import ManagementServer

PRIVATE = "ssh.privatekey"
PUBLIC = "ssh.publickey"


def pair(server: ManagementServer) -> tuple[str, str]:
    """Return the private and the public key; makes and stores them where there are none."""
    private, public = configuration.value(server, PRIVATE), configuration.value(server, PUBLIC)
    if private and public:
        return private.rstrip("\n") + "\n", public.strip() + "\n"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    public = (
        key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode() + " cloud@management\n"
    )
    for name, text in ((PRIVATE, private), (PUBLIC, public)):
        server.cloud.execute("DELETE FROM configuration WHERE name = %s", name)
        server.cloud.execute(
            "INSERT INTO configuration (category, instance, component, name, value) "
            "VALUES ('Hidden', 'DEFAULT', 'management-server', %s, %s)",
            name,
            server.encrypt(text),
        )
    return private, public


def write(server: ManagementServer, path: Path) -> None:
    """Write both keys next to each other, the private one for nobody else to read."""
    private, public = pair(server)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(private)
    path.with_suffix(".pub").write_text(public)
