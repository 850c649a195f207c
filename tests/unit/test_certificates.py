"""The certificate of Postgres in containers: for its name, signed by an authority of its own."""

import os
from pathlib import Path

from cryptography import x509

from cli.certificates import NAMES, write


def test_a_certificate_is_for_the_servers_name_and_signed_by_the_authority(tmp_path: Path) -> None:
    assert write(tmp_path, "postgres", os.getuid())
    authority, certificate = (
        x509.load_pem_x509_certificate((tmp_path / name).read_bytes()) for name in NAMES[:2]
    )
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["postgres"]


def test_the_key_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    write(tmp_path, "postgres", os.getuid())
    key = tmp_path / "server.key"
    before = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    assert not write(tmp_path, "postgres", os.getuid())
    assert key.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == set(NAMES)
