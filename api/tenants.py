"""From the account a token or header names to the account's row id.

Ids and external ids never change and accounts are never deleted, so found ones are remembered;
missing ones are looked up again each time.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from billing.accounts import store
from billing.accounts.schemas import Account
from billing.core import ids
from billing.core.batcher import Batcher
from billing.core.database import Database

REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Tenant:
    """The account a request acts for: what never changes about it."""

    id: UUID
    external_id: str
    is_test: bool

    @property
    def public_id(self) -> str:
        """`acc_…`, the id that leaves the service."""
        return ids.encode(ids.ACCOUNT, self.id)

    def answers_to(self, name: str) -> bool:
        """Whether `name` is this account's id or external id."""
        return name in {self.external_id, self.public_id}


class Tenants:
    """Finds accounts by `acc_…` id or external id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, Tenant] = OrderedDict()
        self._batcher: Batcher[str, Tenant | None] = Batcher(self._look_up)

    async def find(self, name: str) -> Tenant | None:
        """The account with this id or external id; looked up with whatever else is asked for."""
        tenant = self._known.get(name)
        if tenant is not None:
            return tenant
        return await self._batcher.do(name)

    async def find_all(self, names: Set[str]) -> dict[str, Tenant]:
        """The accounts with these ids or external ids, looked up together."""
        known = self._known
        found = {name: known[name] for name in names if name in known}
        missing = names - found.keys()
        if missing:
            async with self._database.operator() as connection:
                for name, account in (await store.find_all(connection, missing)).items():
                    tenant = Tenant(account.id, account.external_id, account.is_test)
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

    async def live_on(
        self, tenants: Collection[Tenant], platform: str | None, domain: str | None
    ) -> bool:
        """Whether the platform names sent with a request are each account's own [A12]."""
        names = [tenant.public_id for tenant in tenants]
        async with self._database.tenant(*(tenant.id for tenant in tenants)) as connection:
            known = await store.find_all(connection, names)
        return all(name in known and _lives_on(known[name], platform, domain) for name in names)


def _lives_on(account: Account, platform: str | None, domain: str | None) -> bool:
    pairs = ((platform, account.platform), (domain, account.platform_domain))
    return all(
        sent is None or (known is not None and sent.lower() == known.lower())
        for sent, known in pairs
    )
