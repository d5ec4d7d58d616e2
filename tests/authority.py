"""An authority of a test's own: certificates for servers on loopback and in the lab, right ones and wrong ones."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

PASSWORD = "vmops.com"  # CloudStack's own default for a keystore
DAY = timedelta(days=1)


class Authority:
    """Signs certificates.

    Args:
        folder: where files are written.
        name: its common name.
    """

    def __init__(self, folder: Path, name: str = "authority of a test") -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._build(self._name, self._key, timedelta(days=-1), timedelta(days=2), (), ca=True)
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def keystore(self, *names: str, since: timedelta = -DAY, until: timedelta = DAY) -> Path:
        """A PKCS#12 file with a server's key and certificate, as `https.keystore` names one.

        Args:
            names: names and addresses in the certificate.
            since, until: its validity, from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self._build(subject, key, since, until, names, ca=False)
        data = pkcs12.serialize_key_and_certificates(
            b"server", key, certificate, [self._certificate], serialization.BestAvailableEncryption(PASSWORD.encode())
        )
        path = self._folder / f"{certificate.serial_number:x}.p12"
        path.write_bytes(data)
        return path

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, since: timedelta, until: timedelta, names: tuple[str, ...], *, ca: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
