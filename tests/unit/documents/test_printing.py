"""Documents printed by the real process: what is on the pages, and that nothing breaks them."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pypdfium2
import pytest

from billing.core.errors import Unavailable
from billing.money.documents import rules
from billing.money.documents.press import OF_ONE, WAITING, Press
from billing.money.documents.schemas import Printed
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine

AT = datetime(2027, 1, 1, 10, tzinfo=UTC)
INK = 200
"""A pixel darker than this shows something."""


@pytest.fixture(scope="module")
async def press() -> AsyncIterator[Press]:
    opened = Press()
    yield opened
    await opened.close()


def line(position: int, **fields: Any) -> InvoiceLine:
    """A line of 49.00."""
    known: dict[str, Any] = {
        "kind": "plan",
        "description": f"Pro, month {position}",
        "quantity": Decimal(1),
        "unit_amount": Decimal(4900),
        "amount_minor": 4900,
    }
    return InvoiceLine(
        id=UUID(int=position),
        account_id=UUID(int=1),
        invoice_id=UUID(int=2),
        position=position,
        **known | fields,
    )


def invoice(*lines: InvoiceLine, currency: str = "USD", **fields: Any) -> Invoice:
    """An open invoice of these lines."""
    total = sum(one.total_minor for one in lines)
    return Invoice(
        id=UUID(int=2),
        account_id=UUID(int=1),
        workflow_id="subscription/sub_1",
        fact_key="sub_1/period-1",
        status="open",
        number="INV-000001",
        currency=currency,
        subtotal_minor=sum(one.amount_minor for one in lines),
        discount_minor=sum(one.discount_minor for one in lines),
        tax_minor=sum(one.tax_minor for one in lines),
        tax_included_minor=sum(one.tax_included_minor for one in lines),
        total_minor=total,
        issued_on=date(2027, 1, 1),
        due_at=AT,
        created_at=AT,
        **{"amount_due_minor": total} | fields,
    )


COST_CENTER = {"name": "Cost center", "value": "4711"}


def snapshot(
    due: int, name: str = "Somebody", fields: Sequence[Any] = (COST_CENTER,), **more: Any
) -> dict[str, Any]:
    """The parties and amounts that were kept with the number."""
    return {
        "issuer": {
            "name": "ACME GmbH",
            "address": {"line1": "Musterstraße 1", "postal_code": "10115", "city": "Berlin"},
            "tax_ids": ["DE123456789"],
            "footer": "Amtsgericht Berlin HRB 1",
        },
        "customer": {"name": name, "custom_fields": fields},
        "balance_applied_minor": 0,
        "amount_due_minor": due,
        "amount_paid_minor": 0,
    } | more


async def printed(press: Press, *lines: InvoiceLine, **more: Any) -> tuple[bytes, str]:
    """An invoice of these lines, and its text."""
    currency = more.pop("currency", "USD")
    made = invoice(*lines, currency=currency)
    content = rules.invoice(made, lines, snapshot(made.amount_due_minor, **more))
    pdf = await press.render(Printed(content=content))
    return pdf, text(pdf)


def text(pdf: bytes) -> str:
    """The text of all pages, with each line's end as it is."""
    pages = pypdfium2.PdfDocument(pdf)
    return "\n".join(page.get_textpage().get_text_range() for page in pages).replace("\r", "")


def from_left(pdf: bytes, words: Sequence[str]) -> list[str]:
    """Return the words of the first page in the order of their places, whatever their direction."""
    page = pypdfium2.PdfDocument(pdf)[0].get_textpage()
    return sorted(words, key=lambda word: page.get_charbox(page.search(word).get_next()[0])[0])


def margins(pdf: bytes) -> list[int]:
    """The number of pages' dark pixels beyond the right margin of 20 mm."""
    found = []
    for page in pypdfium2.PdfDocument(pdf):
        picture = page.render(scale=1, grayscale=True)
        rows, right = bytes(picture.buffer), round(picture.width * 191 / 210)
        found.append(
            sum(
                rows[y * picture.stride + x] < INK
                for y in range(picture.height)
                for x in range(right, picture.width)
            )
        )
    return found


async def test_every_process_prints_the_same_bytes(press: Press) -> None:
    first, _ = await printed(press, line(1), memo="Thank you")
    other = Press()
    try:
        assert (await printed(other, line(1), memo="Thank you"))[0] == first
    finally:
        await other.close()


async def test_an_invoice_says_who_owes_what_to_whom(press: Press) -> None:
    _, seen = await printed(press, line(1), line(2), po_number="PO-77", memo="Net 30, please")
    for words in (
        "Invoice", "INV-000001", "1 Jan 2027", "98.00 USD due", "ACME GmbH", "10115 Berlin",
        "DE123456789", "Amtsgericht Berlin HRB 1", "Somebody", "Cost center", "4711", "PO-77",
        "Net 30, please", "page 1 of 1",
    ):  # fmt: skip
        assert words in seen


async def test_discounts_and_taxes_are_summed_up(press: Press) -> None:
    tax = {
        "jurisdiction": "DE", "category": "standard", "name": "VAT", "rate": "19", "reason": None,
        "inclusive": False, "amount_minor": 838,
    }  # fmt: skip
    _, seen = await printed(
        press,
        line(1, discount_minor=490, discounts=[{"code": "HELLO", "amount_minor": 490}],
             tax_minor=838, taxes=[tax]),
    )  # fmt: skip
    for words in (
        "Discount HELLO: -4.90 USD", "Subtotal 49.00 USD", "Discounts -4.90 USD", "Tax 8.38 USD",
        "Total 52.48 USD", "VAT, DE 19 % 44.10 USD 8.38 USD",
    ):  # fmt: skip
        assert words in seen


def test_each_tax_that_a_price_holds_is_on_the_price_without_all_of_them() -> None:
    held = {"jurisdiction": "CA", "category": "standard", "reason": None, "inclusive": True}
    taxes = [
        held | {"name": "GST", "rate": "5", "amount_minor": 500},
        held | {"name": "QST", "rate": "10", "amount_minor": 1000},
        held | {"name": "Levy", "rate": "1", "inclusive": False, "amount_minor": 115},
    ]
    one = line(1, amount_minor=11500, taxes=taxes, tax_minor=1615, tax_included_minor=1500)
    content = rules.invoice(invoice(one), [one], snapshot(11615))
    on = {row["name"]: row["base"] for row in content["taxes"]}
    assert on == {"GST, CA": "100.00 USD", "QST, CA": "100.00 USD", "Levy, CA": "115.00 USD"}


def test_a_quantity_is_shown_with_every_digit() -> None:
    one = line(1, quantity=Decimal("12345678901234567.123456789012"))
    [row] = rules.invoice(invoice(one), [one], snapshot(4900))["lines"]
    assert row["quantity"] == "12,345,678,901,234,567.123456789012"


async def test_a_part_of_a_period_says_what_it_is_a_part_of(press: Press) -> None:
    part = {"share": "26/31", "of_minor": 4900}
    _, seen = await printed(press, line(1, amount_minor=4110, detail=part), line(2))
    assert "49.00 USD x 26/31 of the period" in seen
    assert seen.count("49.00 USD x") == 1, "a line that is its quantity times its price needs none"


async def test_a_reverse_charge_states_why_nothing_is_added(press: Press) -> None:
    tax = {
        "jurisdiction": "FR", "category": "standard", "name": "VAT", "rate": "0",
        "reason": "reverse_charge", "inclusive": False, "amount_minor": 0,
    }  # fmt: skip
    _, seen = await printed(press, line(1, taxes=[tax]))
    assert "Reverse charge" in seen


@pytest.mark.parametrize(
    ("currency", "shown"),
    [("JPY", "4,900 JPY"), ("KWD", "4.900 KWD"), ("EUR", "49.00 EUR"), ("CLF", "0.4900 CLF")],
)
async def test_every_currency_has_its_own_decimals(press: Press, currency: str, shown: str) -> None:
    _, seen = await printed(press, line(1), currency=currency)
    assert f"Total {shown}" in seen


async def test_three_hundred_lines_go_over_numbered_pages(press: Press) -> None:
    lines = [line(number) for number in range(1, 301)]
    pdf, seen = await printed(press, *lines)
    pages = len(pypdfium2.PdfDocument(pdf))
    assert pages > 5
    assert f"page {pages} of {pages}" in seen
    assert all(one.description in seen for one in lines)
    assert seen.count("Description") == pages
    assert "Total 14,700.00 USD" in seen


@pytest.mark.parametrize(
    "name",
    [
        '#read("/etc/passwd") $x$ *b* _i_ `c` = h @l <m> \\ // /* \u200b',
        "#" * 255,
        "W" * 255,
        "株式会社テスト" * 30,
        "شركة الاختبار المحدودة " * 8,
        "חברת בדיקה " * 12,
        "परीक्षण कंपनी ทดสอบ ქართული Ωμέγα Кириллица",
        "Ltd \u202e\u2066evil\u2069\u202c 🎉👩‍👩‍👧 \U000f0000 \x00\x1b[31m \ud800",
        "a\u0301" * 120,
        "",
    ],
)
async def test_no_name_breaks_a_page(press: Press, name: str) -> None:
    fields = [{"name": name[:40], "value": name[:140]}] * 4
    pdf, seen = await printed(
        press, line(1, description=name), name=name, memo=name * 20, po_number=name, fields=fields
    )
    assert not any(margins(pdf)), "nothing stands in the margin"
    assert "Total 49.00 USD" in seen
    assert not {"\u202e", "\u2066", "🎉", "\x1b"} & set(seen)
    assert "root:" not in seen


async def test_the_text_of_a_name_is_its_text(press: Press) -> None:
    name = '#read("/etc/passwd") 株式会社 한국 Ελλάς ไทย'
    _, seen = await printed(press, line(1, description=name))
    assert name in seen


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("בסיס: 100.00 credits", ["בסיס", "100.00", "credits"]),
        ("מחשב בענן, 17 Feb 2027 to 1 Mar 2027", ["בענן", "מחשב", "17", "Feb"]),
        ("مخطط 365, 17 Feb 2027 to 1 Mar 2027", ["مخطط", "365", "17", "Feb"]),
        ("רחוב הרצל 365, תל אביב", ["אביב", "תל", "365", "הרצל", "רחוב"]),
    ],
)
async def test_a_number_beside_a_name_from_right_to_left_stands_with_its_own_words(
    press: Press, description: str, words: list[str]
) -> None:
    pdf, _ = await printed(press, line(1, description=description))
    assert from_left(pdf, words) == words


async def test_a_credit_note_and_a_receipt_name_their_invoice(press: Press) -> None:
    of = invoice(line(1), paid_at=AT, amount_paid_minor=4900)
    note = CreditNote(
        id=UUID(int=3), account_id=UUID(int=1), invoice_id=of.id, kind="operator", fact_key="k",
        series="CN", number="CN-000001", reason="a bad month", amount_minor=900, currency="USD",
        issued_on=date(2027, 1, 5), created_at=AT, tax_minor=144,
        taxes=[{"name": "VAT", "jurisdiction": "DE", "rate": "19.0", "inclusive": True,
                "amount_minor": 144}],
    )  # fmt: skip
    content = rules.credit_note(note, of, snapshot(4900))
    seen = text(await press.render(Printed(content=content)))
    for words in ("Credit note", "CN-000001", "INV-000001", "a bad month", "9.00 USD credited",
                  "Credited without tax 7.56 USD", "Tax 1.44 USD", "Taxable amount",
                  "VAT, DE 19 % 7.56 USD 1.44 USD"):  # fmt: skip
        assert words in seen
    partly_taxed = note.model_copy(update={"amount_minor": 1900})
    content = rules.credit_note(partly_taxed, of, snapshot(4900))
    seen = text(await press.render(Printed(content=content)))
    assert "VAT, DE 19 % 1.44 USD" in seen
    assert "Taxable amount" not in seen, "its base is not known"
    content = rules.receipt(of, AT, [(AT, "Visa ending in 4242", 4900)], snapshot(4900))
    seen = text(await press.render(Printed(content=content)))
    for words in ("Receipt", "49.00 USD paid on 1 Jan 2027", "Visa ending in 4242", "INV-000001"):
        assert words in seen


def test_an_invoice_that_is_carried_whole_was_not_paid() -> None:
    small = line(1, amount_minor=12)
    of = invoice(small, settlement="carried", amount_due_minor=0)
    content = rules.invoice(of, [small], snapshot(0))
    assert content["headline"] == "0.00 USD due: carried"
    carried = ("Carried in the money balance", "-0.12 USD")
    assert carried in [(one["name"], one["amount"]) for one in content["totals"]]


async def test_a_logo_stands_above_and_a_broken_one_is_refused(press: Press) -> None:
    made = invoice(line(1))
    content = rules.invoice(made, [line(1)], snapshot(4900))
    plain = await press.render(Printed(content=content))
    with_logo = await press.render(Printed(content=content, logo=_PNG))
    assert len(pypdfium2.PdfDocument(with_logo)) == 1
    assert with_logo != plain
    with pytest.raises(Unavailable, match="DOCUMENT_UNAVAILABLE"):
        await press.render(Printed(content=content, logo=_PNG[:40]))
    assert await press.render(Printed(content=content)) == plain, "the next one is printed again"


async def test_a_caller_is_told_no_path_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    broken = Press()
    await printed(broken, line(1))
    shutil.rmtree(tmp_path)
    with pytest.raises(Unavailable) as refused:
        await printed(broken, line(2))
    await broken.close()
    assert str(tmp_path) not in refused.value.detail
    assert str(tmp_path) in str(refused.value.__cause__)


async def test_a_document_that_takes_too_long_is_given_up() -> None:
    hasty = Press(seconds=0.001)
    with pytest.raises(Unavailable, match="DOCUMENT_UNAVAILABLE"):
        await printed(hasty, *(line(number) for number in range(1, 50)))
    await hasty.close()


async def test_many_documents_wait_for_their_turn(press: Press) -> None:
    made = await asyncio.gather(*(printed(press, line(number)) for number in range(20)))
    assert [f"Pro, month {number}" in seen for number, (_, seen) in enumerate(made)] == [True] * 20


async def test_one_account_keeps_no_other_from_its_documents(press: Press) -> None:
    greedy, page = uuid4(), Printed(content=rules.sample(date(2027, 1, 1)))
    others = [uuid4() for _ in range(WAITING - 1)]
    asked = await asyncio.gather(
        *(press.render(page, greedy) for _ in range(WAITING)),
        *(press.render(page, other) for other in others),
        return_exceptions=True,
    )
    refused = [one for one in asked[:WAITING] if isinstance(one, Unavailable)]
    assert len(refused) == WAITING - OF_ONE
    assert not [one for one in asked[WAITING:] if isinstance(one, BaseException)]
    assert await press.render(page, greedy) == asked[-1], "later it is its turn again"


_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae"
    "426082"
)
"""One red pixel."""
