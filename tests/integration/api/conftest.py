"""The app in this process on the run's stack, tokens for whoever is asked for, fresh accounts."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.temporal import connect
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from cli.tokens import mint_token
from devstack.stack import StackInfo

ACCOUNTS: Final = "/api/v1/admin/accounts"
PLENTY: Final = "1000000/minute"


def stack_settings(stack: StackInfo, **more: Any) -> Settings:
    """The settings of the stack's own processes, with changes by field or environment name."""
    values: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias if isinstance(field.validation_alias, str) else None
        known = stack.env.get(alias or name.upper())
        if known is not None:
            values[alias or name] = known
    values |= {"BILLING_RATE_LIMIT": PLENTY, "BILLING_API_METRICS_PORT": 0} | more
    return Settings.model_validate(values)


@dataclass(frozen=True)
class Api:
    """An app and everybody who may call it."""

    app: FastAPI
    client: httpx2.AsyncClient
    stack: StackInfo

    @property
    def database(self) -> Database:
        """The app's own pools."""
        database: Database = self.app.state.services.database
        return database

    def token(self, account: str, roles: Sequence[str], subject: str = "tester") -> dict[str, str]:
        """The Authorization header of a caller."""
        token = mint_token(
            secret=self.stack.jwt_secret,
            account=account,
            roles=roles,
            subject=subject,
            audience=self.stack.jwt_audience,
            issuer=self.stack.jwt_issuer,
        )
        return {"Authorization": f"Bearer {token}"}

    def admin(self) -> dict[str, str]:
        """The Authorization header of an operator."""
        return self.token("*", ["admin"], "ops")

    async def new_account(self, **fields: Any) -> dict[str, Any]:
        """A fresh account, as POST /admin/accounts answers it."""
        body = {"external_id": f"shop-{uuid4()}"} | fields
        answer = await self.client.post(ACCOUNTS, json=body, headers=self.admin())
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


@pytest.fixture(scope="session")
async def api(stack: StackInfo) -> AsyncIterator[Api]:
    settings = stack_settings(stack)
    database = open_database(settings)
    app = create_app(settings, database, await connect(settings))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        yield Api(app, client, stack)
    await database.close()
