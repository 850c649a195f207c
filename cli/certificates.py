"""Certificates for Postgres in containers, made once: a private authority and the server's.

`python -m cli.certificates FOLDER HOST OWNER` writes `ca.crt`, `server.crt` and `server.key`, which
belongs to the user id OWNER. Existing certificates stay; delete all three to get new ones.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from billing.core.clock import real_now

GOOD_FOR: Final = timedelta(days=3650)
NAMES: Final = ("ca.crt", "server.crt", "server.key")


def write(folder: Path, host: str, owner: int) -> bool:
    """Write missing certificates; return False if they exist. The authority's key is not kept."""
    authority_file, certificate_file, key_file = (folder / name for name in NAMES)
    if key_file.exists():
        return False
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, name = _name(f"{host} authority"), _name(host)
    authority = (
        _about(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        _about(name, authority_name, key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(usage, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    authority_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    # Last, for it says that all are there; and never readable by anybody else.
    draft = key_file.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_bytes(_private(key))
    os.chown(draft, owner, owner)
    draft.rename(key_file)
    return True


def _about(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = real_now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + GOOD_FOR)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
