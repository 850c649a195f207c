"""Accounts by the name in a token or header, cached.

Ids and external ids never change and accounts are never deleted, so found accounts stay cached;
missing ones are looked up each time.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from api.identity.auth import MAX_CLAIM_CHARS
from billing.core import ids
from billing.core.batcher import Batcher
from billing.core.database import Database
from billing.core.errors import NotFound
from billing.platform.accounts import store
from billing.platform.accounts.schemas import Account
from billing.platform.accounts.shops import shop_name

REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Tenant:
    """The account of a request: its fields that never change."""

    id: UUID
    external_id: str
    is_test: bool
    opened_at: datetime

    @property
    def public_id(self) -> str:
        """`acc_…`, the account's id outside this service."""
        return ids.encode(ids.ACCOUNT, self.id)

    def answers_to(self, name: str) -> bool:
        """Return True when `name` is this account's id or external id."""
        return name in {self.external_id, self.public_id}


class Tenants:
    """Finds accounts by `acc_…` id or external id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, Tenant] = OrderedDict()
        self._batcher: Batcher[str, Tenant | None] = Batcher(self._look_up)

    def known(self, name: str) -> Tenant | None:
        """Return the account with this id or external id if it is cached."""
        return self._known.get(name)

    async def find(self, name: str) -> Tenant | None:
        """Find the account with this id or external id; concurrent look-ups become one query."""
        if len(name) > MAX_CLAIM_CHARS:  # no account has such a name
            return None
        tenant = self._known.get(name)
        if tenant is not None:
            return tenant
        return await self._batcher.do(name)

    async def own(self, name: str, header: str | None) -> Tenant | None:
        """Find a caller's own account, which the header may only name again.

        Errors: MERCHANT_NOT_FOUND.
        """
        account = await self.find(name)
        if header and header != name and not (account and account.answers_to(header)):
            raise NotFound("MERCHANT_NOT_FOUND")
        return account

    async def find_all(self, names: Set[str]) -> dict[str, Tenant]:
        """Find the accounts with these ids or external ids in one query."""
        known = self._known
        found = {name: known[name] for name in names if name in known}
        missing = names - found.keys()
        if missing:
            async with self._database.operator() as connection:
                for name, account in (await store.find_all(connection, missing)).items():
                    tenant = Tenant(
                        account.id, account.external_id, account.is_test, account.created_at
                    )
                    self._remember(name, tenant)
                    found[name] = tenant
        return found

    async def _look_up(self, names: Sequence[str]) -> list[Tenant | None]:
        found = await self.find_all(set(names))
        return [found.get(name) for name in names]

    def _remember(self, name: str, tenant: Tenant) -> None:
        self._known[name] = tenant
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def are_on_platform(
        self, tenants: Collection[Tenant], platform: str | None, domain: str | None
    ) -> bool:
        """Return True when the platform headers match every one of these accounts [A12]."""
        names = [tenant.public_id for tenant in tenants]
        async with self._database.tenant(*(tenant.id for tenant in tenants)) as connection:
            known = await store.find_all(connection, names)
        found = [known.get(name) for name in names]
        return all(account and is_on_platform(account, platform, domain) for account in found)


def is_on_platform(account: Account, platform: str | None, domain: str | None) -> bool:
    """Return True when the platform and shop headers match this account [A12]."""
    pairs = ((platform, account.platform, str.lower), (domain, account.platform_domain, shop_name))
    return all(
        sent is None or (known is not None and spelled(sent) == spelled(known))
        for sent, known, spelled in pairs
    )
