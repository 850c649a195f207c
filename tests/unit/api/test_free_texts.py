"""Every text that people write freely refuses a card number."""

from typing import Any, Final

import pytest
from pydantic import TypeAdapter, ValidationError

from api.answers.schemas import Body
from api.requests import card_numbers

# Imports every route.
from tests.unit.api.test_openapi import OPERATIONS

SENTENCE: Final = "as agreed, by hand"
"""A text that people write, which no code, key or id is."""
THEIRS: Final = (
    "add_on", "feature_type", "idempotency_key", "issuer", "model", "new_default", "operation",
    "logo", "pack", "plan", "platform_domain", "preview_token", "product", "subject",
)  # fmt: skip
"""Names of things, as those by `…_id` are, and what no person writes by hand."""


def bodies(model: type[Body] = Body) -> list[type[Body]]:
    return [one for made in model.__subclasses__() for one in (made, *bodies(made))]


def free_texts(model: type[Body]) -> list[tuple[str, TypeAdapter[Any]]]:
    """The fields that take a sentence."""
    found = []
    for name, field in model.model_fields.items():
        checked: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
        try:
            taken = checked.validate_python(SENTENCE)
        except ValidationError:
            continue
        if isinstance(taken, str) and not name.endswith("_id") and name not in THEIRS:
            found.append((name, checked))
    return found


@pytest.mark.parametrize("model", sorted(set(bodies()), key=str), ids=str)
def test_a_card_number_in_a_free_text_is_refused(model: type[Body]) -> None:
    assert OPERATIONS
    for name, checked in free_texts(model):
        with pytest.raises(ValidationError, match="card number"):
            pytest.fail(f"{name} takes {checked.validate_python('by 4242 4242 4242 4242')}")


def test_the_texts_are_found_by_what_they_take() -> None:
    found = {name for model in bodies() for name, _ in free_texts(model)}
    assert {"name", "reason", "because", "memo", "po_number", "comment", "label"} <= found


def test_a_short_text_without_one_is_taken() -> None:
    text: TypeAdapter[str] = TypeAdapter(card_numbers.FreeText)
    assert text.validate_python("invoice 4711") == "invoice 4711"
