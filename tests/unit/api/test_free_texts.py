"""Every text that people write freely refuses a card number."""

from typing import Any, Final

import pytest
from pydantic import TypeAdapter, ValidationError

from api import card_numbers
from api.schemas import Body

# Imports every route.
from tests.unit.api.test_openapi import OPERATIONS

FREE: Final = ("reason", "because", "memo", "po_number", "comment", "label")


def bodies(model: type[Body] = Body) -> list[type[Body]]:
    return [one for made in model.__subclasses__() for one in (made, *bodies(made))]


@pytest.mark.parametrize("model", sorted(set(bodies()), key=str), ids=str)
def test_a_card_number_in_a_free_text_is_refused(model: type[Body]) -> None:
    assert OPERATIONS
    for name, field in model.model_fields.items():
        if name not in FREE or "Literal" in str(field.annotation):
            continue
        checked: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
        with pytest.raises(ValidationError, match="card number"):
            checked.validate_python("paid by 4242 4242 4242 4242")


def test_a_short_text_without_one_is_taken() -> None:
    text: TypeAdapter[str] = TypeAdapter(card_numbers.FreeText)
    assert text.validate_python("invoice 4711") == "invoice 4711"
