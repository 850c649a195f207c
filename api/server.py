"""The API as a program: serves until SIGTERM, then lets running requests finish."""

import logging
from socket import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.edge.slow_clients import ImpatientProtocol
from billing.core.database_roles import refuse_unsafe_roles
from billing.core.database_room import refuse_small_server
from billing.core.settings import Settings

# Longer than any request waits, shorter than a stopping container's grace period.
GRACE_SECONDS: Final = 20
# Longer than clients keep idle connections, so that they never reuse a closed one.
KEEP_ALIVE_SECONDS: Final = 75
_logger = logging.getLogger("api")


async def serve(settings: Settings) -> None:
    """Serve on BILLING_SERVICE_HOST and _PORT. In production, refuse to start with unsafe database
    roles.
    """
    try:
        app = create_app(settings)
    except ValueError as error:  # a setting that only the API reads
        raise SystemExit(str(error)) from error
    await refuse_unsafe_roles(settings, app.state.services.database)
    await refuse_small_server(settings, app.state.services.database)
    await _Server(server_config(app, settings)).serve()


class _Server(uvicorn.Server):
    """Reports readiness only once it listens on its port."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start the app and listen."""
        await super().startup(sockets)
        if self.started:
            _logger.info("API ready on port %d", self.config.port)


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return the server config; only trusted proxies may state a caller's address."""
    return uvicorn.Config(
        app,
        host=settings.service_host,
        port=settings.service_port,
        http=ImpatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
