"""The way to Temporal is encrypted as the settings say."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.service import TLSConfig

from billing.core.settings import Settings
from workflows import client


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    written = {name: tmp_path / name for name in ("ca", "cert", "key")}
    for name, path in written.items():
        path.write_text(name)
    return written


async def connected(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Any:
    """The TLS with which a process connects."""
    asked: list[Any] = []

    async def connect(*_: Any, **options: Any) -> None:
        asked.append(options["tls"])

    monkeypatch.setattr(Client, "connect", connect)
    await client.connect(settings)
    (tls,) = asked
    return tls


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, False),
        ({"temporal_tls": True}, TLSConfig()),
        ({"temporal_api_key": "key"}, TLSConfig()),
        ({"temporal_tls_server_name": "temporal.example"}, TLSConfig(domain="temporal.example")),
    ],
)
async def test_a_key_never_goes_without_encryption(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], expected: TLSConfig | bool
) -> None:
    assert await connected(monkeypatch, Settings.model_validate(given)) == expected


async def test_certificates_are_read_from_files(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    settings = Settings(
        temporal_tls_ca_path=files["ca"],
        temporal_tls_client_cert_path=files["cert"],
        temporal_tls_client_key_path=files["key"],
    )
    assert await connected(monkeypatch, settings) == TLSConfig(
        server_root_ca_cert=b"ca", client_cert=b"cert", client_private_key=b"key"
    )


def test_a_certificate_without_its_key_or_file_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(ValidationError, match="together"):
        Settings(temporal_tls_client_cert_path=files["cert"])
    with pytest.raises(ValidationError, match="does not point to a file"):
        Settings(temporal_tls_ca_path=files["ca"] / "nowhere")
