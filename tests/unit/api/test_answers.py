"""Answers encoded without their model are what the model would encode."""

from datetime import UTC, datetime
from decimal import Decimal

from api.answers.schemas import Answer
from api.routes.holds import CaptureAnswer, HoldAnswer, capture_answer, hold_answer
from api.routes.usage import UseAnswer, answer_of
from billing.core import ids
from billing.ledger.credits.holds import HoldOrder
from billing.ledger.credits.schemas import Capture, Hold
from billing.metering.usage.schemas import Recorded

NOW = datetime(2026, 3, 29, 1, 59, 59, tzinfo=UTC)


def same(model: type[Answer], body: bytes) -> bool:
    return model.model_validate_json(body).model_dump_json().encode() == body


def test_a_use() -> None:
    done = Recorded("recorded", ids.new(), "tokens\u2028é", Decimal("0.00200000"), Decimal("1E+3"))
    assert same(UseAnswer, answer_of(done))


def test_a_hold() -> None:
    for order in (
        HoldOrder(account_id=ids.new(), amount=Decimal(2), key="k", reason='é "x"\n'),
        HoldOrder(
            account_id=ids.new(), amount=Decimal("0.5"), key="k", reason="r", scope="chat",
            paid_only=True, subject="s",
        ),
    ):  # fmt: skip
        for end in (None, NOW.replace(microsecond=120)):
            hold = Hold(
                hold_id=ids.new(), amount=order.amount, expires_at=NOW, status="open",
                captured=Decimal(0), created_at=NOW, resolved_at=end, replayed=False, top_up=False,
            )  # fmt: skip
            assert same(HoldAnswer, hold_answer(hold, order))


def test_a_capture() -> None:
    capture = Capture(
        hold_id=ids.new(), transaction_id=ids.new(), captured=Decimal("0.01"),
        released=Decimal("0.990000"), balance=Decimal("-3"), replayed=False,
    )  # fmt: skip
    assert same(CaptureAnswer, capture_answer(capture))
