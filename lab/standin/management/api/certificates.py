"""The certificate authority of the cloud."""

from __future__ import annotations

from .. import configuration
from .core import INTERNAL_ERROR, ApiError, Call, Response, command

CERTIFICATE = "ca.plugin.root.ca.certificate"


@command("listCAProviders", admin=True)
def list_ca_providers(call: Call) -> Response:
    """Return the only provider there is."""
    return call.page([{"name": "root", "description": "CloudStack's Root CA provider plugin"}], "caprovider")


@command("listCaCertificate")
def list_ca_certificate(call: Call) -> Response:
    """Return the root certificate, which lies encrypted in the database."""
    text = configuration.value(call.server, CERTIFICATE)
    if not text:
        raise ApiError(INTERNAL_ERROR, "Failed to get the CA certificate")
    return {"cacertificates": {"certificate": text}}
