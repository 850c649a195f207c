"""The names of business facts, written out: a key that changes would charge or grant twice.

A line here may be added, never altered: rows and Stripe's own store hold these texts.
"""

import inspect
from datetime import UTC, datetime
from uuid import UUID

import pytest

from billing.core import keys

INVOICE = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
OTHER = UUID("01890a5d-ac96-774b-bcce-00000000000f")
START = datetime(2027, 3, 14, 9, 26, 53, tzinfo=UTC)

STEM = "inv_01h455vb4pex5vsknk084sn02q"
GOLDEN = {
    "stamp": (keys.stamp(START), "2027-03-14T09:26:53Z"),
    "stamp_exact": (keys.stamp_exact(START), "2027-03-14T09:26:53.000000Z"),
    "slot_attempt": (keys.slot_attempt(STEM, 2), f"{STEM}/attempt-2"),
    "manual_retry": (keys.manual_retry(STEM, 1), f"{STEM}/now-1"),
    "submission": (keys.submission(INVOICE, 2), f"{STEM}/manual-2"),
    "pay_request": (keys.pay_request(INVOICE, "key-1"), f"{STEM}/pay-key-1"),
    "command": (keys.command("sub_1", "update-1"), "sub_1/order-update-1"),
    "intent": (keys.intent(INVOICE, 3), f"{STEM}/intent-3"),
    "refund": (keys.refund(OTHER), "pay_01h455vb4pex5vskg00000000f/refund"),
    "asked_refund": (keys.asked_refund(OTHER), "ref_01h455vb4pex5vskg00000000f/refund"),
    "end_refund": (
        keys.end_refund(OTHER, OTHER),
        "sub_01h455vb4pex5vskg00000000f/ended/pay_01h455vb4pex5vskg00000000f/refund",
    ),
    "refund_try": (keys.refund_try("ref_1/refund", 2), "ref_1/refund/again-2"),
    "found_refund": (keys.found_refund("re_1"), "re_1/refund"),
    "clawback": (keys.clawback("ref_1", 1), "ref_1/clawback-1"),
    "returned_clawback": (keys.returned_clawback("dsp_1", 1), "dsp_1/returned-1"),
    "reminder": (keys.reminder("dsp_1", 2), "dsp_1/remind-2"),
    "setup_intent": (keys.setup_intent(OTHER), "set_01h455vb4pex5vskg00000000f/intent"),
    "cycle_grant": (
        keys.cycle_grant(OTHER, START), "sub_01h455vb4pex5vskg00000000f/cycle-2027-03-14T09:26:53Z"
    ),
    "usage_before": (
        keys.usage_before("sub_1", START), "sub_1/usage-2027-03-14T09:26:53.000000Z"
    ),
    "period": (keys.period("sub_1", START), "sub_1/period-2027-03-14T09:26:53.000000Z"),
    "change": (keys.change("sub_1", OTHER), "sub_1/chg_01h455vb4pex5vskg00000000f"),
    "pause": (keys.pause("sub_1", "0a1b"), "sub_1/pause-0a1b"),
    "final": (keys.final("sub_1"), "sub_1/final"),
    "late_usage": (
        keys.late_usage("sub_1", START), "sub_1/late-usage-2027-03-14T09:26:53.000000Z"
    ),
    "commitment": (keys.commitment("sub_1", START), "sub_1/commitment-2027-03-14T09:26:53Z"),
    "free_grant": (
        keys.free_grant(OTHER, "hobby", START.date()),
        "acc_01h455vb4pex5vskg00000000f/hobby-2027-03-14",
    ),
    "charge_request": (keys.charge_request(OTHER, "2"), "bill_01h455vb4pex5vskg00000000f/charge-2"),
    "use_charge": (keys.use_charge("bill_1", 2), "bill_1/charge-2"),
    "customer": (keys.customer("acc_1", "cus_2"), "acc_1/customer-after-cus_2"),
    "not_kept": (keys.not_kept("sub_x/cycle-1"), "sub_x/cycle-1/not-kept"),
    "purchase_grant": (keys.purchase_grant(OTHER), "pur_01h455vb4pex5vskg00000000f/grant"),
    "payers_try": (keys.payers_try("inv_x/intent-1", "ch_1"), "inv_x/intent-1/ch_1"),
    "adjustment": (keys.adjustment(OTHER), "adj_01h455vb4pex5vskg00000000f/credits"),
    "balance_adjustment": (
        keys.balance_adjustment(OTHER),
        "adj_01h455vb4pex5vskg00000000f/balance",
    ),
    "portal_session": (keys.portal_session(OTHER), "por_01h455vb4pex5vskg00000000f/session"),
    "change_grant": (keys.change_grant(OTHER), "chg_01h455vb4pex5vskg00000000f/grant"),
    "change_take_back": (
        keys.change_take_back(OTHER, 2), "chg_01h455vb4pex5vskg00000000f/take-back-2"
    ),
    "end_take_back": (
        keys.end_take_back(OTHER, 1), "sub_01h455vb4pex5vskg00000000f/end-take-back-1"
    ),
    "unserved_take_back": (
        keys.unserved_take_back(keys.change_grant(OTHER)),
        "chg_01h455vb4pex5vskg00000000f/grant/unserved",
    ),
    "used_meanwhile": (keys.used_meanwhile(OTHER), "chg_01h455vb4pex5vskg00000000f/used"),
    "trial_grant": (keys.trial_grant(OTHER), "acc_01h455vb4pex5vskg00000000f/trial"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_a_key_is_for_ever(name: str) -> None:
    made, written = GOLDEN[name]
    assert made == written


def test_every_key_is_written_down_here() -> None:
    made = {
        name
        for name, function in inspect.getmembers(keys, inspect.isfunction)
        if function.__module__ == keys.__name__ and not name.startswith("_")
    }
    assert made == GOLDEN.keys()


def test_a_key_fits_where_stripe_keeps_it() -> None:
    assert max(len(made) for made, _ in GOLDEN.values()) <= 255
