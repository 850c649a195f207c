"""The platform and shop in a request's headers, and refusals of accounts of another shop [A12]."""

from collections.abc import Collection, Mapping
from contextvars import ContextVar
from typing import Final

from api.identity.tenants import Tenant, is_on_platform
from api.services import Services
from billing.core.errors import NotAllowed
from billing.platform.accounts.schemas import Account

PLATFORM_HEADER: Final = "X-Platform"
SHOP_HEADER: Final = "X-Shop-Domain"
NO_SHOP: Final = (None, None)
# The platform and shop named in the headers of an operator's request.
named_shop: ContextVar[tuple[str | None, str | None]] = ContextVar("shop", default=NO_SHOP)


async def check_platform(
    headers: Mapping[bytes, str], tenants: Collection[Tenant], services: Services
) -> None:
    """Refuse platform headers that name another account's shop. Errors: PLATFORM_MISMATCH [A12]."""
    platform, domain = headers.get(b"x-platform"), headers.get(b"x-shop-domain")
    if platform is None and domain is None:
        return
    if not await services.tenants.are_on_platform(tenants, platform, domain):
        raise _of_another_shop()


def check_shop(account: Account) -> None:
    """Check the platform headers for the account that an operator's request concerns [A12].

    Errors: PLATFORM_MISMATCH.
    """
    if not is_on_platform(account, *named_shop.get()):
        raise _of_another_shop()


def _of_another_shop() -> NotAllowed:
    return NotAllowed("PLATFORM_MISMATCH")
