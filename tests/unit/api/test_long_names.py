"""Names that no account can have: nobody looks for them, and they give no rate of their own."""

from fastapi import FastAPI

from api.app import create_app
from tests.unit.api.conftest import lonely_settings
from tests.unit.api.forging import signed
from tests.unit.api.test_closed_pages import calling

PATH = "/api/v1/billing/details"


async def statuses(app: FastAPI, *names: str) -> list[int]:
    """The answers to a service that names these accounts; there is no database to find them in."""
    token = {"Authorization": f"Bearer {signed(roles=['service'])}"}
    async with calling(app) as client:
        return [
            (await client.get(PATH, headers=token | {"X-Account-Id": name})).status_code
            for name in names
        ]


async def test_a_text_too_long_for_a_name_is_not_looked_for_and_has_no_rate_of_its_own() -> None:
    app = create_app(lonely_settings(BILLING_RATE_LIMIT="2/minute"))
    long = (letter * 256 for letter in "abc")
    assert await statuses(app, *long) == [404, 404, 429]
    assert await statuses(app, "d" * 255) == [503], "which may be somebody's"


async def test_a_process_keeps_no_name_that_a_caller_sent() -> None:
    app = create_app(lonely_settings())
    name = "n" * 255
    assert await statuses(app, name) == [503]
    rates = app.state.services.rates
    kept = [*rates._shared["reads"]._shares, *rates._limits["reads"]._seen]
    assert len(kept) == 2, "by the shared rate, and by the process's own while Postgres is away"
    assert not any(name in key for key in kept)
