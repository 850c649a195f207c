"""The certificates that the API's own short calls trust."""

from functools import cache
from ssl import SSLContext

import httpx2


@cache
def trusted() -> SSLContext:
    """Return the context of every such call: reading it takes the event loop tens of ms."""
    return httpx2.create_ssl_context(trust_env=False)
