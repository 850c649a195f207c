"""The actor, the account and the correlation id of a call, in context variables.

Set once at the edge (API request, activity); read by audit rows, logs and outgoing calls.
"""

from contextvars import ContextVar
from uuid import UUID

actor: ContextVar[str] = ContextVar("actor", default="system")
correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
account: ContextVar[UUID | None] = ContextVar("account", default=None)
