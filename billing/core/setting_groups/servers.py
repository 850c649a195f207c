"""Settings of the servers that hold the data and drive the work: Postgres and Temporal."""

from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, FilePath, SecretStr

from billing.core.setting_groups.forms import Threshold


class DatabaseSettings(BaseModel):
    """Connections to Postgres."""

    # PostgreSQL: three roles, so that a bug in one cannot use the rights of another.
    database_url: SecretStr = SecretStr("postgresql+psycopg://billing_app@127.0.0.1:5433/billing")
    database_operator_url: SecretStr | None = None
    database_owner_url: SecretStr | None = None
    database_schema: str = "public"
    database_pool_size: int = Field(20, ge=1, validation_alias="BILLING_DATABASE_POOL_SIZE")
    database_prepare_threshold: Threshold = Field(
        5, validation_alias="BILLING_DATABASE_PREPARE_THRESHOLD"
    )
    replica_database_url: SecretStr | None = None
    # A worker whose clock is farther from the database's takes no work, an API changes nothing.
    clock_tolerance_seconds: int = Field(
        60, ge=5, le=3_600, validation_alias="BILLING_CLOCK_TOLERANCE_SECONDS"
    )

    @property
    def operator_url(self) -> SecretStr:
        """The role that sees all accounts; the app role in set-ups with one role."""
        return self.database_operator_url or self.database_url

    @property
    def has_one_role(self) -> bool:
        """True if one role would serve customers and operators."""
        urls = (self.database_url, self.operator_url)
        return len({urlsplit(url.get_secret_value()).username for url in urls}) == 1


class TemporalSettings(BaseModel):
    """The connection to Temporal, and the build of its worker."""

    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "billing"
    temporal_tls: bool = False
    temporal_api_key: SecretStr | None = None
    # PEM files: the CA of Temporal's certificate, and our certificate and key for mutual TLS.
    temporal_tls_ca_path: FilePath | None = None
    temporal_tls_client_cert_path: FilePath | None = None
    temporal_tls_client_key_path: FilePath | None = None
    # The name in its certificate, if it differs from the address.
    temporal_tls_server_name: str | None = None
    build_id: str | None = Field(None, validation_alias="BILLING_BUILD_ID")

    @property
    def temporal_tls_parts(self) -> dict[str, Any] | None:
        """The client's TLS parameters; None without TLS. An API key or a certificate always implies
        TLS.
        """
        files = {
            "server_root_ca_cert": self.temporal_tls_ca_path,
            "client_cert": self.temporal_tls_client_cert_path,
            "client_private_key": self.temporal_tls_client_key_path,
        }
        parts: dict[str, Any] = {name: path.read_bytes() for name, path in files.items() if path}
        if self.temporal_tls_server_name:
            parts["domain"] = self.temporal_tls_server_name
        wanted = self.temporal_tls or self.temporal_api_key is not None or bool(parts)
        return parts if wanted else None
