"""Ids on their way out and back: the same number, the same order, and nothing else gets in."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core import ids
from billing.core.errors import NotFound

PREFIXES = [
    value
    for name, value in vars(ids).items()
    if name.isupper() and not name.startswith("_") and isinstance(value, str)
]
uuids = st.integers(0, (1 << 128) - 1).map(lambda number: UUID(int=number))
prefixes = st.sampled_from(PREFIXES)


@given(prefixes, uuids)
def test_an_id_comes_back_as_it_went_out(prefix: str, value: UUID) -> None:
    text = ids.encode(prefix, value)
    assert ids.decode(prefix, text) == value
    assert ids.parse(prefix, text) == value
    assert len(text) == len(prefix) + 27
    assert text == text.lower()
    assert text.isascii()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("prefix_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
        ("prefix_0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"),
        ("prefix_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ("prefix_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
        ("prefix_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ],
)
def test_an_id_is_a_typeid(text: str, value: str) -> None:
    """The examples of TypeID's specification."""
    assert ids.encode("prefix", UUID(value)) == text
    assert ids.parse("prefix", text) == UUID(value)


@given(uuids, uuids)
def test_ids_sort_as_text_like_their_numbers(one: UUID, other: UUID) -> None:
    assert (one < other) == (ids.encode("inv", one) < ids.encode("inv", other))


@given(st.text())
def test_other_text_is_no_id(text: str) -> None:
    value = ids.parse("inv", text)
    assert value is None or ids.encode("inv", value) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "inv",
        "inv_",
        "inv_0000000000000000000000000",
        "inv_000000000000000000000000000",
        "inv_0000000000000000000000000O",
        "inv_0000000000000000000000000l",
        "INV_00000000000000000000000000",
        "inv_80000000000000000000000000",
        "inv_zzzzzzzzzzzzzzzzzzzzzzzzzz",
        "sub_00000000000000000000000000",
        "inv_0000000000000000000000000é",
        " inv_00000000000000000000000000",
    ],
)
def test_a_malformed_or_foreign_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="NOT_FOUND"):
        ids.decode("inv", text)


def test_the_published_example_of_this_alphabet_reads_the_same() -> None:
    value = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert ids.encode("inv", value) == "inv_01h455vb4pex5vsknk084sn02q"


def test_the_greatest_and_the_least_id() -> None:
    assert ids.encode("inv", UUID(int=0)) == "inv_" + "0" * 26
    assert ids.encode("inv", UUID(int=(1 << 128) - 1)) == "inv_7" + "z" * 25


def test_each_kind_has_a_prefix_of_its_own() -> None:
    assert len(set(PREFIXES)) == len(PREFIXES)
    assert all(3 <= len(prefix) <= 4 and prefix.isalpha() for prefix in PREFIXES)


def test_new_ids_are_version_7_and_never_the_same() -> None:
    made = [ids.new() for _ in range(1_000)]
    assert len(set(made)) == 1_000
    assert {value.version for value in made} == {7}
    assert [value.int >> 80 for value in made] == sorted(value.int >> 80 for value in made)
