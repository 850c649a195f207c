"""The client of Temporal, for the API, the worker and the CLI alike."""

from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic import SecretStr
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from billing.core import context
from workflows.converter import CONVERTER
from workflows.interceptors import interceptors

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

UNANSWERED: Final = frozenset(
    {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}
)
"""Statuses of a call that Temporal did not answer; the client's own timeout is CANCELLED."""
OUT_OF_BREATH: Final = UNANSWERED | {RPCStatusCode.RESOURCE_EXHAUSTED}
"""Statuses after which it is asked again."""


class Server(Protocol):
    """The settings of the connection to Temporal."""

    temporal_address: str
    temporal_namespace: str
    temporal_api_key: SecretStr | None

    @property
    def temporal_tls_parts(self) -> dict[str, Any] | None:
        """The client's TLS parameters; None without TLS."""
        ...


class Tracing(Protocol):
    """The tracing of one process."""

    @property
    def tracer(self) -> "Tracer":
        """The tracer, which creates spans."""
        ...


async def connect(
    server: Server,
    tracing: Tracing | None = None,
    *,
    runtime: Runtime | None = None,
    lazy: bool = True,
) -> Client:
    """Return a client for the configured server or Temporal Cloud.

    A lazy one connects on its first call, so that the API's reads never wait for Temporal.
    """
    key, tls = server.temporal_api_key, server.temporal_tls_parts
    return await Client.connect(
        server.temporal_address,
        namespace=server.temporal_namespace,
        data_converter=CONVERTER,
        api_key=key.get_secret_value() if key else None,
        tls=False if tls is None else TLSConfig(**tls),
        runtime=runtime,
        interceptors=interceptors(context.correlation_id.get, tracing.tracer if tracing else None),
        lazy=lazy,
    )


def never_connected(error: BaseException) -> bool:
    """True if Temporal did not answer the first call: the SDK's own, bare error."""
    return isinstance(error, RuntimeError) and str(error).startswith("Failed client connect")


def lacks_namespace(error: RPCError) -> bool:
    """True if Temporal has no namespace of our name."""
    details = error.grpc_status.details
    return any(one.Is(NamespaceNotFoundFailure.DESCRIPTOR) for one in details)
