"""Requests that a test may send to the control plane, validated.

Unknown fields are refused, so a misspelt field is never ignored in silence.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sandbox import scripts
from sandbox.faults import FaultKind
from sandbox.shapes import Json


class Order(BaseModel):
    """Base of every order."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Script(Order):
    """Outcomes of the next charges (or refunds, or new intents) of a card or customer."""

    outcomes: list[str]
    """For charges: succeed, authentication_required, processing or the name of a decline;
    for refunds: succeeded, pending, failed, requires_action, refused; for amounts:
    amount_too_small, amount_too_large, of every new intent. Empty: forget the script."""
    then: Literal["normal", "last"] = "normal"
    """After the last word: the card is itself again, or the last word stays."""
    purpose: Literal["charge", "refund", "amount"] = "charge"

    @model_validator(mode="after")
    def _words(self) -> "Script":
        for word in self.outcomes:
            if not scripts.known(word, self.purpose):
                raise ValueError(f"{word!r} is not an outcome of a {self.purpose}")
        return self


class Match(Order):
    """The requests that a fault hits; everything given must fit."""

    method: Literal["GET", "POST", "DELETE"] | None = None
    path: str | None = None
    """A prefix, or a pattern such as `/v1/payment_intents/*/confirm`."""
    customer: str | None = None
    """In the parameters, or on the object the path names."""
    metadata: dict[str, str] = {}


class FaultOrder(Order):
    """A fault to plan: its kind, the requests it hits, and its number of hits."""

    kind: FaultKind
    match: Match = Match()
    nth: Annotated[int, Field(ge=1)] = 1
    """From the nth matching request on."""
    times: Annotated[int, Field(ge=1)] | None = 1
    """Number of hits; null: no end."""
    seconds: Annotated[float, Field(ge=0, le=600)] | None = None
    """Seconds for which `slow` waits (1), `hang` works on the object of its path, which nothing
    else may change meanwhile, and a timeout holds the connection (15)."""


class WebhookOrder(Order):
    """The fate of the deliveries of matching events."""

    action: Literal["drop", "hold", "duplicate", "delay", "shuffle"]
    types: list[str] | None = None
    """Event types or patterns (`charge.*`); null: all."""
    customer: str | None = None
    metadata: dict[str, str] = {}
    times: Annotated[int, Field(ge=1)] | None = None
    """For how many events; null: until the plan is removed."""
    copies: Annotated[int, Field(ge=1, le=50)] = 1
    """duplicate: how many more postings."""
    seconds: Annotated[float, Field(ge=0, le=86_400 * 7)] = 0.3
    """delay: how long; shuffle: the window in which events mix."""
    seed: int = 0
    """shuffle: the same seed gives the same order."""


class Release(Order):
    """The withheld deliveries to send, in their order."""

    customer: str | None = None
    types: list[str] | None = None
    events: list[str] | None = None
    """These events, in this order."""
    order: Literal["created", "reverse", "shuffle"] = "created"
    seed: int = 0


class Redeliver(Order):
    """Post an old event again."""

    copies: Annotated[int, Field(ge=1, le=50)] = 1


class Synthetic(Order):
    """An event without a cause: an unknown type, an old API version, a foreign object."""

    type: str
    object: Json
    api_version: str | None = None


class PayPage(Order):
    """A person pays on a hosted page."""

    payment_method: str = "pm_card_visa"
    authenticate: bool | None = None
    """Pass (true) or fail (false) 3-D Secure when asked; null: leave it open."""


class FailPage(Order):
    """A person's card is declined on a hosted page."""

    reason: str = "generic_decline"


class Authenticate(Order):
    """A person finishes 3-D Secure."""

    passed: bool = True


class ClientConfirm(Order):
    """A browser confirms an intent with its client secret."""

    payment_method: str = "pm_card_visa"
    return_url: str | None = None


class Reissue(Order):
    """A bank gives a saved card the number of this test card."""

    card: str


class Settle(Order):
    """The end of a payment that is processing."""

    outcome: str | None = None
    """succeed, or the name of a decline; null: as its bank account does. Cards pay."""


class Refund(Order):
    """A refund that the seller makes in the dashboard."""

    amount: Annotated[int, Field(ge=1)] | None = None
    """In the provider's units; null: all that is left."""


class Dispute(Order):
    """A dispute that a payer opens at its bank."""

    reason: str = "fraudulent"
    inquiry: bool = False
    """The bank only asks; no money is withdrawn."""
    amount: Annotated[int, Field(ge=1)] | None = None
    """In the provider's units; null: the whole charge, also what was refunded of it."""
    prevented: Literal["block", "resolution"] | None = None
    """Stripe ends it at once: it stops the payer's bank, or gives the payer the money."""


class EndDispute(Order):
    """The issuer's decision. Of a lost dispute it may return a part, also later."""

    outcome: Literal["won", "lost"]
    returned: int | None = Field(default=None, gt=0)


class AskedTax(Order):
    """A tax that a place charges, in percent."""

    level: Literal["country", "state", "county", "city", "district"] = "country"
    place: str
    tax: str
    tax_type: str = "vat"
    percent: str
    of: dict[str, str] = {}
    """Other percentages, by tax code."""


class TaxRates(Order):
    """The taxes of countries (`DE`) and regions (`US-WA`) that the seller collects for."""

    rates: dict[str, list[AskedTax]]


class Reset(Order):
    """Forget everything, or one customer's objects."""

    customer: str | None = None


class Age(Order):
    """Make kept idempotency keys older."""

    hours: float


class SetClock(Order):
    """Put a customer on a clock of its own, or move that clock."""

    frozen_time: int
