"""Pure rules of payment methods: a card's metadata, and how long one being saved is waited for."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from billing.core import ids, periods
from billing.core.frozen import Frozen
from billing.money.payment_methods.schemas import Method

DEBIT_CURRENCIES: Final = {"us_bank_account": "USD", "sepa_debit": "EUR"}
"""Bank debits, each with its one currency: the bank decides on one for days."""
SETUP_LIFETIME: Final = timedelta(hours=24)
"""A card that was not given by then is not waited for any more."""


class CardDetails(Frozen):
    """Metadata of a stored card; never its number."""

    stripe_payment_method_id: str
    kind: str = "card"
    provider_kind: str = "card"
    """The provider's own name of the kind, such as us_bank_account."""
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    fingerprint: str | None = None
    country: str | None = None


class SetupOutcome(Frozen):
    """State of a SetupIntent; `card` is there once it succeeded."""

    setup_intent_id: str
    status: Literal["waiting", "action", "processing", "succeeded", "failed", "canceled"]
    client_secret: str | None = None
    card: CardDetails | None = None


def is_debit(method: Method) -> bool:
    """True of a bank account, about which its bank decides for days."""
    return method.provider_kind in DEBIT_CURRENCIES


def takes(method: Method, currency: str) -> bool:
    """True if the method can be charged in this currency."""
    return DEBIT_CURRENCIES.get(method.provider_kind, currency) == currency


def can_pay(method: Method, currency: str | None) -> bool:
    """True if its bank allows charges, and it can be charged in this currency; None: in any."""
    return method.barred_at is None and (currency is None or takes(method, currency))


def successor(before: Method, others: Sequence[Method], currency: str | None) -> Method | None:
    """The default after a method that went, of the others, newest first; None: it stays.

    After the default it is the newest that can pay; where none can, the newest. Also after another
    one that could pay, where neither the default nor the backup can.
    """
    able = [one for one in others if can_pay(one, currency)]
    if before.is_default:
        return next(iter([*able, *others]), None)
    is_served = any(one.is_default or one.is_backup for one in able)
    lost = can_pay(before, currency) and not is_served
    return next(iter(able), None) if lost else None


def named(methods: Iterable[Method], reference: str | None) -> Method | None:
    """The method, active or removed, that the provider knows by this id."""
    known = (one for one in methods if one.stripe_payment_method_id == reference)
    return next(known, None) if reference is not None else None


def of_card(methods: Iterable[Method], card: CardDetails) -> Method | None:
    """The active method that a card is already; of two from before, the one that is charged."""
    if card.fingerprint is None:
        return None
    same = (
        one for one in methods if one.status == "active" and one.fingerprint == card.fingerprint
    )
    return max(same, key=lambda one: (one.one_card is not None, one.is_default), default=None)


def card_given(card: CardDetails) -> dict[str, Any]:
    """Fields of a method whose card was given, for the first time or again.

    Its newest id at the provider counts: it has the newest expiry and the payer's latest consent.
    """
    return {**card.model_dump(), "one_card": card.fingerprint}


def replaced(method: Method, new_id: UUID, at: datetime) -> Method:
    """The card's id of before as a row of its own, still to be detached at the provider."""
    return method.model_copy(
        update={
            "id": new_id, "status": "removing", "is_default": False, "is_backup": False,
            "removed_at": at,
        }
    )  # fmt: skip


def setup_expires_at(created_at: datetime) -> datetime:
    """Instant after which nobody waits for the card."""
    return created_at + SETUP_LIFETIME


def expiry(method: Method) -> str | None:
    """The month that a card lives to the end of, such as 2027-03."""
    if method.exp_year is None or method.exp_month is None:
        return None
    return f"{method.exp_year}-{method.exp_month:02}"


def expiry_is_untold(method: Method) -> bool:
    """True if the owner was told neither of this expiry nor of a later one."""
    ends = expiry(method)
    return ends is not None and (method.told_expiry is None or ends > method.told_expiry)


def valid_until(method: Method, zone: str) -> datetime | None:
    """Instant at which the card's last month is over."""
    if method.exp_year is None or method.exp_month is None:
        return None
    years, month = divmod(method.exp_month, 12)
    return periods.from_wall(datetime(method.exp_year + years, month + 1, 1), zone)  # noqa: DTZ001


def card_facts(method: Method) -> dict[str, Any]:
    """Facts that an event tells of a stored card."""
    return {
        "payment_method_id": ids.encode(ids.PAYMENT_METHOD, method.id),
        "kind": method.kind,
        "brand": method.brand,
        "last4": method.last4,
    }
