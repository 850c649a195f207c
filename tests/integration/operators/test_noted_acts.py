"""Acts of operators are in the audit, each under its own name."""

from typing import Any, Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.contract_terms import PRICE, agree

Act = tuple[str, str, Json | None, str]
NAME: Final = uuid4().hex[:8]
SELLER: Final[Json] = {
    "name": "ACME", "address": {"line1": "Main St 1", "city": "Berlin", "country": "DE"}
}  # fmt: skip
COUPON: Final[Json] = {"code": f"NOTED{NAME}", "name": "Noted", "percent": "10"}
EXEMPTION: Final = "/admin/accounts/{account}/tax-exemption"
THRESHOLD: Final = "/admin/accounts/{account}/billing-threshold"
OF_AN_ACCOUNT: Final[tuple[Act, ...]] = (
    ("PUT", EXEMPTION, {"because": "certificate 4711"}, "account.exempted"),
    ("PUT", EXEMPTION, {"because": None}, "account.taxed"),
    ("PUT", THRESHOLD, {"threshold_cents": 5000, "reason": "new"}, "subscription.threshold_set"),
)
OF_NONE: Final[tuple[Act, ...]] = (
    ("POST", "/admin/coupons", COUPON, "coupon.created"),
    ("DELETE", f"/admin/coupons/Noted{NAME}", None, "coupon.closed"),
    ("PUT", f"/admin/issuers/noted-{NAME}", SELLER, "issuer.changed"),
)


async def noted(actors: Actors, customer: Customer | None, action: str) -> list[Any]:
    """The newest such entry of the account, or of none."""
    of = f"&account_id={customer.id}" if customer else ""
    found = await actors.operate("GET", f"/admin/audit?action={action}&limit=1{of}", status=200)
    return [one["subject"] for one in found["data"]]


async def test_acts_on_an_account_are_in_its_audit(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("basic")
    for method, path, body, action in OF_AN_ACCOUNT:
        assert await noted(actors, customer, action) == []
        await actors.operate(method, path.format(account=customer.id), body)
        assert len(await noted(actors, customer, action)) == 1, action


async def test_acts_on_what_is_sold_and_who_sells_it_are_in_the_audit(actors: Actors) -> None:
    for method, path, body, action in OF_NONE:
        before = await noted(actors, None, action)
        await actors.operate(method, path, body)
        assert await noted(actors, None, action) not in ([], before), action


async def test_a_contract_that_has_not_begun_ends_where_it_would_have_begun(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    begins = "2027-02-15T10:00:00Z"
    await agree(customer, prices=[PRICE], effective_from=begins)
    path = f"/admin/accounts/{customer.id}/contract"
    ended = await actors.operate("DELETE", path, status=200)
    assert (ended["effective_from"], ended["effective_to"]) == (begins, begins)
    for action in ("contract.agreed", "contract.ended"):
        assert await noted(actors, customer, action) == ["contract"]
