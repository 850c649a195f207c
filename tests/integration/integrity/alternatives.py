"""Rows that one alternative of a check finds: what joins conditions by OR, or queries by UNION, is
more than one way to be wrong, and each has a damage of its own here.

Rows stand alone, in tables that have nothing else: columns that no check reads are left out.
"""

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from billing.core import ids
from billing.insight.integrity import credits, flow, money, usage

Row = dict[str, Any]
Rows = dict[str, list[Row]]
ME: Final = UUID(int=1)
ONE: Final = str(UUID(int=2))
"""The id of each row, unless a row says otherwise; so each column that refers to one has it."""
PAST, SOON, LATER = "2020-01-01T00:00:00Z", "2098-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
TO_PURCHASE: Final = ids.encode(ids.PURCHASE, UUID(ONE))
TO_SUBSCRIPTION: Final = ids.encode(ids.SUBSCRIPTION, UUID(ONE))
TO_ACCOUNT: Final = ids.encode(ids.ACCOUNT, ME)
TO_ADJUSTMENT: Final = ids.encode(ids.ADJUSTMENT, UUID(ONE))
TO_PAYMENT: Final = ids.encode(ids.PAYMENT, UUID(ONE))


@dataclass(frozen=True)
class Alternatives:
    """Rows that a check finds right, and changes of them that it does not: by table, the columns of
    its one row, or all its rows.
    """

    right: dict[str, Row | list[Row]] = field(default_factory=dict)
    wrong: tuple[dict[str, Row | list[Row]], ...] = ()

    def cases(self) -> list[tuple[Rows, bool]]:
        """Return the rows of each case, and whether the check is to find them."""
        changed = [({table: _changed(self.right.get(table), rows) for table, rows in one.items()})
                   for one in self.wrong]  # fmt: skip
        right = {table: _changed(None, rows) for table, rows in self.right.items()}
        return [(right, False), *((right | one, True) for one in changed)]


def _changed(before: Row | list[Row] | None, rows: Row | list[Row]) -> list[Row]:
    if isinstance(rows, list):
        return rows
    return [(before if isinstance(before, dict) else {}) | rows]


QUERIES: Final = (
    credits.QUERIES | money.QUERIES | flow.QUERIES | usage.QUERIES
    | {f"{name}, late": query
       for name, query in (money.LATE | flow.LATE | usage.LATE).items()}
)  # fmt: skip
"""The checks; `late` are those that fail by time."""

_REFUND: Final = {
    "status": "succeeded", "payment_id": ONE, "invoice_id": ONE, "way": "card", "currency": "USD",
    "amount_minor": 5, "note_minor": 0, "balance_minor": 0, "wanted_minor": 0, "booked_at": None,
}  # fmt: skip
_TAKEN: Final = _REFUND | {"booked_at": PAST, "balance_minor": 5, "wanted_minor": 5}
_TAKEN_OF: Final[dict[str, Row | list[Row]]] = {
    "accounts": {}, "payments": {"received_minor": 5, "currency": "USD"},
    "invoices": {"total_minor": 5, "status": "paid"},
}  # fmt: skip
_USE: Final = {
    "kind": "usage", "currency": "USD", "billing_method": "subscription_included", "meter": "m",
    "billing_status": "completed", "charged_units": 2, "total_amount": 3, "period_start": PAST,
    "is_late": False,
}  # fmt: skip
_PRICED: Final = {
    "meter": "m", "early": False, "late": False, "billed_minor": 300, "billed_units": "3",
    "tiers": [{"amount": "6"}],
    "price": {"model": "package", "unit_price": "3", "package_size": "10"},
}  # fmt: skip
_SUBSCRIBED: Final = {
    "plan_id": ONE, "amount_minor": 9, "status": "active", "cycle_start": PAST,
    "current_period_start": PAST, "cycle_end": LATER,
}  # fmt: skip
_BILLED: Final = {
    "subscription_id": ONE, "status": "paid", "settlement": "money", "cycle_start": PAST,
    "cycle_end": LATER, "period_start": PAST, "paid_at": SOON, "workflow_id": "subscription/1",
}  # fmt: skip
_CYCLE_PAID: Final[dict[str, Row | list[Row]]] = {
    "accounts": {}, "plans": {"monthly_credits": 5, "allowance_count": 1},
    "subscriptions": _SUBSCRIBED, "invoices": _BILLED,
}  # fmt: skip

OF: Final[dict[str, Alternatives]] = {
    "credits_never_negative": Alternatives(
        {"credit_balances": {"balance": 5, "held": 2, "debt": 0},
         "credit_lots": {"remaining": 5, "held": 2}},
        ({"credit_balances": {"held": -1}}, {"credit_balances": {"held": 6}},
         {"credit_balances": {"debt": -1}},
         {"credit_lots": {"held": -1}}, {"credit_lots": {"held": 6}}),
    ),
    "lots_of_their_kind": Alternatives(
        {"credit_lots": {"kind": "purchase", "is_paid": True}},
        ({"credit_lots": {"kind": "plan"}}, {"credit_lots": {"expires_at": SOON}}),
    ),
    "ends_awaited": Alternatives(
        {"accounts": {}, "credit_balances": {"next_expiry": SOON}},
        ({"credit_balances": {"next_expiry": LATER},
          "credit_lots": {"is_open": True, "expires_at": SOON}},
         {"credit_balances": {"next_expiry": LATER},
          "credit_holds": {"status": "open", "expires_at": SOON}}),
    ),
    "purchases_granted_once": Alternatives(
        {"purchases": {"status": "completed", "credits": 5},
         "credit_lots": {"kind": "purchase", "grant_key": "one"},
         "credit_transactions": {"key": "one", "subject": TO_PURCHASE, "amount": 5}},
        ({"purchases": {"status": "failed"}}, {"credit_transactions": {"amount": 4}}),
    ),
    "grants_paid_once": Alternatives(
        {"purchases": {"amount_minor": 5},
         "credit_lots": {"kind": "purchase", "grant_key": f"{TO_PURCHASE}/grant"},
         "invoices": {"purchase_id": ONE}, "payments": {"invoice_id": ONE, "received_minor": 5,
                                                        "settled_at": PAST}},
        ({"purchases": []}, {"payments": {"received_minor": 4}}),
    ),
    "trials_granted_once": Alternatives(
        {"trials": {"kind": "account_trial", "credits": 5, "expires_at": SOON},
         "credit_lots": {"kind": "trial", "grant_key": f"{TO_ACCOUNT}/trial", "amount": 5,
                         "expires_at": SOON}},
        ({"trials": {"credits": 4}}, {"trials": []}, {"credit_lots": {"expires_at": LATER}}),
    ),
    "top_ups_bought": Alternatives(
        {"top_ups": {"status": "failed", "purchase_id": ONE},
         "purchases": {"status": "failed", "top_up_id": ONE}},
        ({"purchases": {"status": "completed"}}, {"top_ups": []},
         {"top_ups": {"status": "buying"}, "purchases": []},
         {"top_ups": {"status": "completed"}, "purchases": []},
         {"top_ups": {"status": "given_up"}}),
    ),
    "cycles_granted_once": Alternatives(
        {},
        (_CYCLE_PAID,
         _CYCLE_PAID | {"subscriptions": _SUBSCRIBED | {"ended_at": LATER}},
         # A later cycle of a longer period, whose invoice is open.
         _CYCLE_PAID | {
             "invoices": {"subscription_id": ONE, "status": "open", "period_start": PAST,
                          "cycle_end": "2020-02-01T00:00:00Z"},
             "credit_lots": {"kind": "plan", "expires_at": LATER,
                             "grant_key": f"{TO_SUBSCRIPTION}/cycle-2020-03-01T00:00:00Z"}},
         # A later cycle without credits.
         _CYCLE_PAID | {
             "subscriptions": _SUBSCRIBED | {"cycle_start": SOON},
             "invoices": _BILLED | {"cycle_start": None}},
         {"credit_lots": [{"kind": "plan", "expires_at": PAST, "grant_key": f"sub_1/cycle-{one}"}
                          for one in (PAST, SOON)]},
         # Credits that live on after the subscription.
         {"accounts": {}, "credit_lots": {"kind": "plan", "grant_key": "one", "is_open": True,
                                          "kept_from": PAST, "expires_at": LATER}}),
    ),
    "refunds_match_payments": Alternatives(
        {"payments": {"received_minor": 5, "refunded_minor": 0, "status": "succeeded",
                      "settled_at": PAST, "currency": "USD"}},
        ({"payments": {"refunded_minor": 1}}, {"payments": {"status": "refunded"}},
         {"refunds": _REFUND | {"amount_minor": 6}}, {"refunds": _REFUND | {"currency": "EUR"}}),
    ),
    "disputes_booked": Alternatives(
        {"disputes": {"state": "lost", "booked_at": PAST, "balance_minor": 0, "note_minor": 0,
                      "noted_back_minor": 0}},
        ({"disputes": {"state": "open"}}, {"disputes": {"balance_minor": 1}},
         {"disputes": {"noted_back_minor": 1}},
         {"disputes": {"state": "won", "note_minor": 1}}),
    ),
    "reversals_placed": Alternatives(
        {},
        (_TAKEN_OF | {"refunds": _TAKEN},
         _TAKEN_OF | {"disputes": _TAKEN | {"state": "lost", "balance_minor": 0, "loss_minor": 1,
                                            "amount_minor": 6}},
         _TAKEN_OF | {"refunds": _TAKEN | {"balance_minor": 0},
                      "balance_entries": {"amount_minor": -1, "currency": "USD"}},
         *(_TAKEN_OF | {"refunds": _TAKEN, "matters": matter | {
             "workflow_id": f"reversal/{TO_PAYMENT}", "status": "open"}}
           for matter in ({"closed_at": PAST}, {"next_due": LATER}))),
    ),
    "payments_settled": Alternatives(
        {"payments": {"settled_at": PAST, "status": "succeeded", "received_minor": 5}},
        ({"payments": {"status": "failed"}}, {"payments": {"received_minor": 0}}),
    ),
    "one_currency": Alternatives(
        {"credit_balances": {"currency": "USD"},
         "invoices": {"currency": "USD", "status": "open", "total_minor": 5, "fact_key": "one"},
         "payments": {"currency": "USD", "status": "succeeded", "invoice_id": ONE},
         "subscriptions": {"currency": "USD", "status": "active"},
         "balance_entries": {"currency": "USD", "amount_minor": 5}},
        tuple({table: {"currency": "EUR"}} for table in (
            "invoices", "payments", "subscriptions", "balance_entries")),
    ),
    "invoice_numbers": Alternatives(
        {"invoices": {"series": "TEST-1", "number": "TEST-1-1"},
         "invoice_series": {"series": "TEST-1", "last_number": 1}},
        ({"invoices": {"number": "TEST-1-2"}, "invoice_series": {"last_number": 2}},
         {"invoice_series": {"last_number": 2}}),
    ),
    "invoice_sums": Alternatives(
        {"invoices": {"subtotal_minor": 5, "discount_minor": 0, "tax_minor": 0, "total_minor": 5,
                      "tax_included_minor": 0, "amount_due_minor": 5, "balance_applied_minor": 0},
         "invoice_lines": {"invoice_id": ONE, "amount_minor": 5, "discount_minor": 0,
                           "tax_minor": 0, "tax_included_minor": 0}},
        ({"invoice_lines": {"amount_minor": 4}},
         {"invoices": {"total_minor": 6, "amount_due_minor": 6}},
         {"invoices": {"amount_due_minor": 4}}),
    ),
    "invoices_settled": Alternatives(
        {"invoices": {"status": "paid", "paid_at": PAST, "amount_due_minor": 5,
                      "amount_paid_minor": 5, "amount_credited_minor": 0}},
        ({"invoices": {"amount_paid_minor": 4}}, {"invoices": {"amount_paid_minor": 6}},
         {"invoices": {"status": "open", "paid_at": None}}, {"invoices": {"paid_at": None}}),
    ),
    "credit_notes": Alternatives(
        {"invoices": {"status": "paid", "number": "N", "total_minor": 5, "amount_due_minor": 5,
                      "tax_minor": 1, "amount_credited_minor": 0},
         "invoice_lines": {"invoice_id": ONE, "kind": "plan", "tax_minor": 1},
         "credit_notes": {"invoice_id": ONE, "amount_minor": 5, "tax_minor": 1},
         "balance_entries": {"invoice_id": ONE, "kind": "credited", "amount_minor": 5}},
        ({"credit_notes": {"amount_minor": 6}, "balance_entries": {"amount_minor": 6}},
         {"credit_notes": {"tax_minor": 2}}, {"invoices": {"amount_credited_minor": 1}},
         {"invoices": {"status": "void"}, "credit_notes": {"amount_minor": 4},
          "balance_entries": {"amount_minor": 4}}),
    ),
    "money_balance": Alternatives(
        {"invoices": {"balance_applied_minor": 5, "currency": "USD"},
         "balance_entries": {"kind": "applied", "amount_minor": -5, "invoice_id": ONE,
                             "currency": "USD"}},
        ({"invoices": {"balance_applied_minor": 4}}, {"invoices": {"currency": "EUR"}}),
    ),
    "adjustments_told": Alternatives(
        {"balance_entries": {"kind": "adjusted", "amount_minor": 5, "currency": "USD"},
         "billing_audit": {"id": 1, "action": "balance.adjusted", "subject": TO_ADJUSTMENT,
                           "detail": {"amount_cents": 5, "currency": "USD"}}},
        ({"balance_entries": {"amount_minor": 6}}, {"balance_entries": {"currency": "EUR"}},
         {"balance_entries": []}, {"billing_audit": []}),
    ),
    "outbox_numbers": Alternatives(
        {"credit_balances": {"event_seq": 4}, "dropped_events": {"last_number": 1},
         "events": [{"seq": 2}, {"seq": 3}, {"seq": 4}]},
        ({"credit_balances": {"event_seq": 5}}, {"events": [{"seq": 2}, {"seq": 4}]},
         {"dropped_events": {"last_number": 2}, "skipped_events": {"last_number": 1}},
         {"dropped_events": []}),
    ),
    "matters_exist": Alternatives(
        {},
        ({"subscriptions": {"status": "active"}}, {"purchases": {"status": "pending"}},
         {"trials": {"status": "active", "kind": "account_trial"}},
         {"invoices": {"status": "open", "workflow_id": "collection/1", "collection": "card"}},
         {"invoices": {"status": "open", "workflow_id": "charge/1"}},
         {"refunds": {"payment_id": ONE}}, {"credit_balances": {"next_expiry": SOON}},
         {"credit_balances": {"top_up_below": 5, "top_up_open": False, "top_up_from": PAST}},
         {"top_ups": {"status": "wanted"}},
         {"billing_records": {"billing_method": "payment_charge", "billing_status": "pending"}},
         {"usage_periods": {"late_at": PAST}}, {"usage_settlements": {}}, {"unpaid_retries": {}},
         {"unpaid_uses": {}}, {"unpaid_uses": {"told_at": PAST, "charge_at": SOON}},
         {"limit_overrides": {"due_at": SOON}}, {"payment_methods": {"status": "removing"}},
         {"setup_intents": {}}, {"portal_sessions": {}}),
    ),
    "matters_have_rows": Alternatives(
        {},
        tuple({"matters": {"kind": kind, "subject_id": ONE}}
              for kind in ("subscription", "purchase", "collection", "reversal")),
    ),
    "states_dated": Alternatives(
        {"subscriptions": {"status": "active", "cycle_start": PAST, "cycle_end": SOON,
                           "current_period_end": SOON}},
        tuple({"subscriptions": one} for one in (
            {"status": "trialing"}, {"status": "paused"}, {"pause_reason": "asked"},
            {"cycle_start": SOON}, {"cycle_end": LATER})),
    ),
    "debts_pursued": Alternatives(
        {"subscriptions": {"status": "unpaid", "unpaid_at": PAST},
         "invoices": {"subscription_id": ONE, "status": "uncollectible"},
         "dunning_cases": {"invoice_id": ONE, "closed_at": SOON, "status": "exhausted"}},
        ({"subscriptions": {"status": "past_due"}}, {"invoices": {"status": "paid"}}),
    ),
    "cases_match_invoices": Alternatives(
        {"dunning_cases": {"status": "open", "invoice_id": ONE}, "invoices": {"status": "open"}},
        ({"invoices": {"status": "paid"}}, {"dunning_cases": {"closed_at": PAST}},
         {"dunning_cases": {"status": "recovered", "closed_at": PAST}}),
    ),
    "inbox_handled, late": Alternatives(
        {"stripe_webhook_events": {"status": "processed", "received_at": PAST}},
        ({"stripe_webhook_events": {"status": "received"}},
         {"stripe_webhook_events": {"status": "unmatched"}}),
    ),
    "matters_started, late": Alternatives(
        {"accounts": {}, "matters": {"status": "open", "woken_at": PAST, "started_at": PAST}},
        ({"matters": {"started_at": None}}, {"matters": {"status": "resting", "next_due": PAST}}),
    ),
    "cycles_dated": Alternatives(
        {"usage_counters": {"owner": "", "grain": "day", "period_start": PAST},
         "usage_periods": {"start_at": PAST, "end_at": SOON, "subscription_id": ONE},
         "credit_balances": {"period_id": ONE},
         "subscriptions": {"status": "active", "amount_minor": 5, "cycle_start": PAST,
                           "cycle_end": SOON}},
        ({"usage_counters": {"period_start": SOON}}, {"usage_periods": {"end_at": LATER}}),
    ),
    "unpaid_uses_known": Alternatives(
        {"billing_records": {"billing_status": "failed"}, "unpaid_uses": {"record_id": ONE}},
        ({"unpaid_uses": []}, {"billing_records": []},
         {"billing_records": {"billing_status": "pending", "currency": "CREDIT"},
          "unpaid_uses": []}),
    ),
    "usage_paid": Alternatives(
        {"credit_transactions": {"kind": "debit", "amount": -5, "debt": 0},
         "sealed_entries": {"credits": 5, "entries": 1}},
        ({"sealed_entries": {"credits": 4}}, {"sealed_entries": {"entries": 2}},
         {"sealed_entries": [], "credit_transactions": [],
          "billing_records": {"transaction_id": ONE, "total_amount": 0}},
         {"sealed_entries": [],
          "billing_records": {"transaction_id": ONE, "total_amount": 4}},
         {"sealed_entries": [],
          "capture_logs": [{"transaction_id": ONE, "credits": one} for one in (2, 3)]}),
    ),
    "usage_billed": Alternatives(
        {"billing_records": _USE, "invoices": {"currency": "USD"},
         "invoice_lines": {"invoice_id": ONE, "kind": "usage", "detail": {"meter": "m"},
                           "period_start": PAST, "quantity": 2, "amount_minor": 300}},
        ({"invoice_lines": {"quantity": 1}}, {"invoice_lines": {"amount_minor": 200}}),
    ),
    "usage_priced": Alternatives(
        {"invoices": {"currency": "USD"},
         "invoice_lines": {"invoice_id": ONE, "kind": "usage", "period_start": PAST,
                           "quantity": 12, "amount_minor": 300, "detail": _PRICED}},
        ({"invoice_lines": {"amount_minor": 299}}, {"invoice_lines": {"amount_minor": 301}},
         {"invoice_lines": {"detail": _PRICED | {"tiers": [{"amount": "5"}]}}}),
    ),
    "usage_counted_beyond": Alternatives(
        {"billing_records": _USE,
         "usage_cycles": {"owner": "", "meter": "m", "period_start": PAST, "overage": 2,
                          "overage_total": 3}},
        ({"usage_cycles": {"overage": 1}}, {"usage_cycles": {"overage_total": 2}}),
    ),
    "usage_invoiced": Alternatives(
        {"billing_records": _USE | {"billing_status": "pending"},
         "usage_periods": {"start_at": PAST, "end_at": SOON, "subscription_id": ONE},
         "subscriptions": {"status": "active", "cycle_start": PAST, "period_number": 1}},
        ({"subscriptions": {"status": "canceled"}}, {"subscriptions": {"cycle_start": SOON}}),
    ),
}  # fmt: skip
