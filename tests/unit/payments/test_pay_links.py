"""Links to payment pages: signed, for one subject, over one day, under secrets that rotate."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.settings import Settings
from billing.money.payments.pay_links import PayLink, PayLinks
from billing.money.payments.rules import LINK_LIFETIME

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
ACCOUNT, INVOICE = UUID(int=1), UUID(int=2)


def links(secret: str = "one") -> PayLinks:
    values = {"BILLING_PAY_LINK_SECRET": secret, "BILLING_PUBLIC_URL": "https://pay.example/"}
    return PayLinks(Settings.model_validate(values))


def token(secret: str = "one") -> str:
    url = links(secret).url(ACCOUNT, "invoice", INVOICE, NOW)
    assert url.startswith("https://pay.example/pay/")
    return url.rpartition("/")[2]


def read(text: str, secret: str = "one") -> PayLink | None:
    return links(secret).read(text)


def test_a_link_names_its_subject_and_ends() -> None:
    link = read(token())
    assert link is not None
    assert (link.account_id, link.kind, link.subject_id) == (ACCOUNT, "invoice", INVOICE)
    assert not link.is_over(NOW + LINK_LIFETIME)
    assert link.is_over(NOW + LINK_LIFETIME + timedelta(days=1))


def test_a_new_secret_signs_and_the_old_one_is_read_until_it_goes() -> None:
    old = token("old")
    assert read(old, "new,old") == read(old, "old")
    assert read(old, "new") is None
    assert read(token("new,old"), "new") is not None


@settings(deadline=None)  # a busy machine has none
@given(place=st.integers(0, 97), letter=st.sampled_from("ABab01-_"))
def test_a_link_with_another_letter_is_no_link(place: int, letter: str) -> None:
    known = token()
    place %= len(known)
    changed = known[:place] + letter + known[place + 1 :]
    # The last letter has bits to spare: they say nothing, and change nothing.
    assert changed == known or read(changed) is None or read(changed) == read(known)


@given(st.text())
def test_no_text_is_a_link_by_chance(text: str) -> None:
    assert read(text) is None
