"""An authority of a test's own: certificates for servers on loopback and in the lab, right ones and wrong ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12
from cryptography.x509 import load_pem_x509_certificate

PASSWORD = "vmops.com"  # CloudStack's own default for a keystore
DAY = timedelta(days=1)


class Authority:
    """Signs certificates.

    Args:
        folder: where files are written.
        name: its name.
    """

    def __init__(self, folder: Path, name: str = "authority of a test") -> None:
        self._folder, self._ca = folder, trustme.CA(organization_unit_name=name)
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def keystore(self, *names: str, since: timedelta = -DAY, until: timedelta = DAY) -> Path:
        """A PKCS#12 file with a server's key and certificate, as `https.keystore` names one.

        Args:
            names: names and addresses in the certificate.
            since, until: its validity, from now.
        """
        now = datetime.now(UTC)
        made = self._ca.issue_cert(*names, common_name=names[0], not_before=now + since, not_after=now + until)
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        certificate = load_pem_x509_certificate(made.cert_chain_pems[0].bytes())
        authority = load_pem_x509_certificate(self._ca.cert_pem.bytes())
        path = self._folder / f"{certificate.serial_number:x}.p12"
        path.write_bytes(
            pkcs12.serialize_key_and_certificates(b"server", key, certificate, [authority], BestAvailableEncryption(PASSWORD.encode()))
        )
        return path
