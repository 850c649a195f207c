"""A process that dies between its commit and its answer."""

from tests.integration.actors import Actors


async def lose_answer(actors: Actors, key: str) -> None:
    """The request with this key was carried out and never answered; its lease is over."""
    await actors.sql(
        "UPDATE billing_idempotency SET status = NULL, media_type = NULL, body = NULL,"
        " lease_until = clock_timestamp() WHERE key = %(key)s RETURNING key",
        key=key,
    )
