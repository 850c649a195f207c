"""The table of subscription states and commands, for code and docs.

`yes` accepts it; `later` waits for the resumption; `overdue` is refused until what is owed is paid;
`replace` starts a new one; `no` is refused (docs/rules/subscriptions.md).
"""

from typing import Final, Literal, get_args

from billing.core.errors import Conflict

State = Literal[
    "incomplete", "incomplete_expired", "trialing", "active", "past_due", "unpaid", "paused",
    "canceled",
]  # fmt: skip
Command = Literal[
    "subscribe", "change_up", "change_down", "cancel", "reactivate", "pause", "resume", "pay",
    "extend", "coupon", "card",
]  # fmt: skip
Reply = Literal["yes", "later", "overdue", "replace", "no"]

COMMANDS: Final[tuple[Command, ...]] = get_args(Command)
_ENDED: Final[tuple[Reply, ...]] = ("yes", *("no",) * 10)
_ROWS: Final[dict[State, tuple[Reply, ...]]] = {
    #              subscribe up  down  cancel reactivate pause resume pay  extend coupon card
    # Another plan is a new subscribe, which replaces it.
    "incomplete": ("replace", "no", "no", "yes", "no", "no", "no", "yes", "no", "no", "yes"),
    "trialing": ("no", "yes", "yes", "yes", "yes", "no", "no", "no", "yes", "yes", "yes"),
    "active": ("no", "yes", "yes", "yes", "yes", "yes", "no", "no", "yes", "yes", "yes"),
    "past_due": ("no", "overdue", "yes", "yes", "yes", "yes", "no", "yes", "yes", "yes", "yes"),
    "unpaid": ("no", "no", "no", "yes", "yes", "no", "no", "yes", "no", "no", "yes"),
    "paused": ("no", "later", "later", "yes", "yes", "no", "yes", "yes", "no", "no", "yes"),
    "incomplete_expired": _ENDED,
    "canceled": _ENDED,
}
TABLE: Final[dict[State, dict[Command, Reply]]] = {
    state: dict(zip(COMMANDS, row, strict=True)) for state, row in _ROWS.items()
}
ROUTES: Final[dict[Command, tuple[str, str]]] = {
    "subscribe": ("POST /billing/subscription", ""),
    "change_up": ("PUT /billing/subscription", "a more expensive plan, more of an add-on"),
    "change_down": ("PUT /billing/subscription", "a cheaper plan, less of an add-on"),
    "cancel": ("POST /billing/subscription/cancel", ""),
    "reactivate": ("POST /billing/subscription/reactivate", "if an end is to come"),
    "pause": ("POST /billing/subscription/pause", "at period end, or now without a refund"),
    "resume": ("POST /billing/subscription/resume", "a new period from now, charged first"),
    "extend": ("POST /admin/accounts/{account_id}/subscription/extend", "an operator adds days"),
    "coupon": ("POST /billing/subscription/coupon", "discounts invoices from the next period on"),
    "card": ("PUT /billing/subscription/payment-method", "which card is charged from now on"),
    "pay": ("POST /billing/invoices/{invoice_id}/pay", "the invoice that is owed"),
}
"""The route below /api/v1 that gives a command, and a note on it."""


def takes(state: State) -> list[Command]:
    """Return the commands that a state accepts."""
    return [command for command, reply in TABLE[state].items() if reply not in ("no", "overdue")]


def demand(state: State, command: Command) -> Reply:
    """Return the reply. Errors (409): SUBSCRIPTION_STATE, SUBSCRIPTION_EXISTS, PAYMENT_OVERDUE."""
    reply = TABLE[state][command]
    if reply == "overdue":
        raise Conflict("PAYMENT_OVERDUE", state=state)
    if reply == "no":
        if command == "subscribe":
            raise Conflict("SUBSCRIPTION_EXISTS", state=state)
        raise Conflict(
            "SUBSCRIPTION_STATE",
            f"a subscription in state {state} accepts only: {', '.join(takes(state))}",
            state=state,
            takes=takes(state),
        )
    return reply
