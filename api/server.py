"""The API as a program: serves until SIGTERM, and lets requests on their way end."""

from typing import Final

import uvicorn

from api.app import create_app
from billing.core.database_roles import refuse_unsafe_roles
from billing.core.settings import Settings

# Above the longest wait of a request, and below what a stopping container is given.
GRACE_SECONDS: Final = 20
# Longer than clients keep idle connections: else they meet one that just closed.
KEEP_ALIVE_SECONDS: Final = 75


async def serve(settings: Settings) -> None:
    """Serve on BILLING_SERVICE_HOST and _PORT. A production with unsafe roles does not begin."""
    app = create_app(settings)
    await refuse_unsafe_roles(settings, app.state.services.database)
    await uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.service_host,
            port=settings.service_port,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    ).serve()
