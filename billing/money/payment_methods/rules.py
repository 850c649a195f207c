"""Pure rules of payment methods: a card's metadata, and the time limit for saving one."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import Field

from billing.core import ids, periods
from billing.core.frozen import Frozen
from billing.money.payment_methods.schemas import Method

DEBIT_CURRENCIES: Final = {
    "us_bank_account": "USD", "sepa_debit": "EUR", "bacs_debit": "GBP", "au_becs_debit": "AUD",
    "nz_bank_account": "NZD",
}  # fmt: skip
"""Bank debits, each with its only currency; the bank takes days to decide on one."""
SETUP_LIFETIME: Final = timedelta(hours=24)
"""Time limit for giving a card."""
NEVER_CHOSEN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""`chosen_at` of a card that somebody paid one invoice with, by a link: it is new to no debt."""


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


class Keeping(Frozen):
    """The decision on a card that was given, or has paid."""

    method: Method | None
    """The method that it is already; None: it becomes a new one."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """Fields of its method that change, or of the new one."""
    is_given_again: bool = False
    """It has another id at the provider now: the earlier one is to be detached."""
    default_since: datetime | None = None
    """Its `chosen_at` as the new default; None: no other default."""
    is_new: bool = False
    """It is tried at once on what it has to pay."""


class SetupOutcome(Frozen):
    """State of a SetupIntent; `card` is set once it succeeded."""

    setup_intent_id: str
    status: Literal["waiting", "action", "processing", "succeeded", "failed", "canceled"]
    client_secret: str | None = None
    card: CardDetails | None = None


def is_debit(method: Method) -> bool:
    """True for a bank account, whose bank takes days to decide."""
    return method.provider_kind in DEBIT_CURRENCIES


def takes(method: Method, currency: str) -> bool:
    """True if the method can be charged in this currency."""
    return DEBIT_CURRENCIES.get(method.provider_kind, currency) == currency


def can_pay(method: Method, currency: str | None) -> bool:
    """True if the method is not barred and can be charged in this currency; None: in any."""
    return method.barred_at is None and (currency is None or takes(method, currency))


def successor(before: Method, others: Sequence[Method], currency: str | None) -> Method | None:
    """Return the default among `others`, newest first, after `before` was removed; None: no change.

    A removed default is followed by the newest that can pay, else by the newest. The default also
    changes after another one that could pay, if neither default nor backup can.
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


def names_of(methods: Iterable[Method], method: Method) -> set[str]:
    """Return the provider's ids of a method's card, also those before it was given again."""
    mine = method.fingerprint
    same = (one for one in methods if mine is not None and one.fingerprint == mine)
    return {one.stripe_payment_method_id for one in (method, *same)}


def of_card(methods: Iterable[Method], card: CardDetails) -> Method | None:
    """Return the active method of the same card; of two older ones, the one that is charged."""
    if card.fingerprint is None:
        return None
    same = (
        one for one in methods if one.status == "active" and one.fingerprint == card.fingerprint
    )
    return max(same, key=lambda one: (one.one_card is not None, one.is_default), default=None)


def barred_since(methods: Iterable[Method], card: CardDetails) -> datetime | None:
    """Return when the card was barred, by what is known of all its methods, active or removed."""
    if card.fingerprint is None:
        return None
    same = (one.barred_at for one in methods if one.fingerprint == card.fingerprint)
    return min((at for at in same if at is not None), default=None)


def card_given(card: CardDetails, at: datetime) -> dict[str, Any]:
    """Fields of a method whose card was given at `at`, for the first time or again.

    The newest provider id counts: it has the newest expiry and the payer's latest consent.
    """
    return {**card.model_dump(), "one_card": card.fingerprint, "chosen_at": at}


def keeping(
    methods: Sequence[Method],
    card: CardDetails,
    at: datetime,
    *,
    make_default: bool,
    by_link: bool = False,
) -> Keeping:
    """Decide what a card that was given, or has paid, changes; the first one becomes the default.

    A new default is new, and so is a method that is given again or reissued. `by_link`: the payer
    was shown one invoice, so the card is new to nothing else.
    """
    known, same = named(methods, card.stripe_payment_method_id), of_card(methods, card)
    if known is not None and known.status != "active":
        return Keeping(method=same or known)  # what was detached can never be used again
    before, since = known or same, NEVER_CHOSEN if by_link else at
    is_again = False
    if before is None:
        fields = {**card_given(card, since), "barred_at": barred_since(methods, card)}
        make_default = make_default or not any(one.is_default for one in methods)
    else:
        since = max(before.chosen_at, since)
        fields, is_again = card_given(card, since), known is None
        make_default = make_default and not before.is_default
    if known is not None:
        fields, is_again = card_updated(known, methods, card, at), is_reissued(known, card)
    return Keeping(
        method=before,
        fields=fields,
        is_given_again=before is not None and known is None,
        default_since=since if make_default else None,
        is_new=(make_default or is_again) and not by_link,
    )


def is_reissued(method: Method, card: CardDetails) -> bool:
    """True if the bank changed the number or the expiry: the card counts as given again."""
    facts = ("fingerprint", "exp_month", "exp_year")
    return any(getattr(method, name) not in (None, getattr(card, name)) for name in facts)


def card_updated(
    method: Method, methods: Iterable[Method], card: CardDetails, at: datetime
) -> dict[str, Any]:
    """Fields that change where the provider has updated a card, maybe with another number.

    The bar was that of the earlier number. If another method has the new one already, both stay, as
    two of an older release do.
    """
    fields = card.model_dump()
    if is_reissued(method, card):
        fields["chosen_at"] = at
    if method.fingerprint not in (None, card.fingerprint):
        others = [one for one in methods if one.id != method.id]
        fields["one_card"] = card.fingerprint if of_card(others, card) is None else None
        fields["barred_at"] = barred_since(others, card)
    return {name: value for name, value in fields.items() if getattr(method, name) != value}


def replaced(method: Method, new_id: UUID, at: datetime) -> Method:
    """Return a row for the card's earlier provider id, which must still be detached there."""
    return method.model_copy(
        update={
            "id": new_id, "status": "removing", "is_default": False, "is_backup": False,
            "removed_at": at,
        }
    )  # fmt: skip


def setup_expires_at(created_at: datetime) -> datetime:
    """Return when the time limit for giving the card ends."""
    return created_at + SETUP_LIFETIME


def expiry(method: Method) -> str | None:
    """Return the last month in which a card is valid, such as 2027-03."""
    if method.exp_year is None or method.exp_month is None:
        return None
    return f"{method.exp_year}-{method.exp_month:02}"


def expiry_is_untold(method: Method) -> bool:
    """True if the owner was notified of neither this expiry nor a later one."""
    ends = expiry(method)
    return ends is not None and (method.told_expiry is None or ends > method.told_expiry)


def valid_until(method: Method, zone: str) -> datetime | None:
    """Return when the card's last month ends."""
    if method.exp_year is None or method.exp_month is None:
        return None
    years, month = divmod(method.exp_month, 12)
    return periods.from_wall(datetime(method.exp_year + years, month + 1, 1), zone)  # noqa: DTZ001


def card_facts(method: Method) -> dict[str, Any]:
    """Return the facts about a stored card that events carry."""
    return {
        "payment_method_id": ids.encode(ids.PAYMENT_METHOD, method.id),
        "kind": method.kind,
        "brand": method.brand,
        "last4": method.last4,
    }
