"""The app in this process on the run's stack, tokens for whoever is asked for, fresh accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import httpx2
from fastapi import FastAPI

from billing.core.database import Database
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
