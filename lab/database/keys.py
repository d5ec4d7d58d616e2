"""Keys, certificates and passwords from a seed, so that the same plan gives the same database."""

from __future__ import annotations

import base64
import datetime
import hashlib
import random
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_PUBLIC_EXPONENT = 65537
_SMALL_PRIMES = [n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2))]
_WITNESSES = 24


def stream(seed: int, purpose: str) -> random.Random:
    """A source of randomness of its own for each purpose, so that a change in one leaves the others as they are."""
    return random.Random(f"{seed}:{purpose}")


def api_key(source: random.Random) -> str:
    """An API or secret key in CloudStack's form: 64 bytes, Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(source.randbytes(64)).decode().rstrip("=")


def password_hash(password: str, source: random.Random, rounds: int) -> str:
    """A password as CloudStack's PBKDF2UserAuthenticator stores it: salt, hash and rounds.

    CloudStack takes 100,000 rounds; it reads the number from the stored text, so that fewer serve for test users.
    """
    salt = source.randbytes(64)
    digest = _stretched(password, salt, rounds)
    return f"{base64.b64encode(salt).decode()}:{base64.b64encode(digest).decode()}:{rounds}"


@lru_cache(maxsize=256)
def _stretched(password: str, salt: bytes, rounds: int) -> bytes:
    """Kept: the same plan is made several times in one process, with the same salts."""
    return hashlib.pbkdf2_hmac("sha1", password.encode("latin-1"), salt, rounds, 64)


def _probable_prime(candidate: int, source: random.Random) -> bool:
    if any(candidate % prime == 0 for prime in _SMALL_PRIMES):
        return False
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(_WITNESSES):
        x = pow(source.randrange(2, candidate - 1), odd, candidate)
        if x in (1, candidate - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % candidate
            if x == candidate - 1:
                break
        else:
            return False
    return True


def _prime(bits: int, source: random.Random) -> int:
    while True:
        # the two highest bits set, so that the product of two has exactly twice the length
        candidate = source.getrandbits(bits) | 3 << (bits - 2) | 1
        if candidate % _PUBLIC_EXPONENT != 1 and _probable_prime(candidate, source):
            return candidate


@lru_cache(maxsize=8)
def rsa_key(seed: int, purpose: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key made from the seed. For test data only: whoever knows the seed knows the key."""
    source = stream(seed, f"rsa {purpose}")
    p, q = _prime(bits // 2, source), _prime(bits // 2, source)
    d = pow(_PUBLIC_EXPONENT, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p, q=q, d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p), dmq1=rsa.rsa_crt_dmq1(d, q), iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(_PUBLIC_EXPONENT, p * q),
    )  # fmt: skip
    return numbers.private_key()


def private_pem(key: rsa.RSAPrivateKey, traditional: bool = False) -> str:
    """The private key as PEM: PKCS#8, or the form that ssh-keygen -m PEM writes (ssh.privatekey)."""
    form = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """The public key as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def public_openssh(key: rsa.RSAPrivateKey, comment: str) -> str:
    """The public key as a line of authorized_keys."""
    form = serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode() + f" {comment}"


def root_certificate(key: rsa.RSAPrivateKey, seed: int, since: datetime.datetime) -> str:
    """A certificate of CloudStack's root CA: signed by itself, valid for 30 years ([code] RootCAProvider)."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca.cloudstack.apache.org")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(stream(seed, "root certificate").getrandbits(120) | 1)
        .not_valid_before(since)
        .not_valid_after(since + datetime.timedelta(days=30 * 365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
