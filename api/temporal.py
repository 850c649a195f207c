"""The API's Temporal client: it connects on its first call, so reads never wait for Temporal."""

from temporalio.client import Client
from temporalio.service import TLSConfig

from billing.core import context
from billing.core.settings import Settings
from billing.core.tracing import Tracing
from workflows.converter import CONVERTER
from workflows.interceptors import interceptors


async def connect(settings: Settings, tracing: Tracing | None = None) -> Client:
    """Return a lazy client for the configured server or Temporal Cloud."""
    key, tls = settings.temporal_api_key, settings.temporal_tls_parts
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        data_converter=CONVERTER,
        api_key=key.get_secret_value() if key else None,
        tls=False if tls is None else TLSConfig(**tls),
        interceptors=interceptors(context.correlation_id.get, tracing.tracer if tracing else None),
        lazy=True,
    )
