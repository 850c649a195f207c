"""The fields of bodies that say how a subscription's charge is paid: one meaning in each body."""

from typing import Literal, Self

from pydantic import Field, model_validator

from api.answers.public_ids import PaymentMethodName
from api.answers.schemas import Body, UseBalance


class MoneyBody(Body):
    """A payment that may begin with the money balance."""

    use_balance: UseBalance = True


class PayingBody(MoneyBody):
    """The payment: by the saved card, a named one, or one that the client confirms."""

    payment_method: Literal["default", "card"] = Field(
        "default",
        description="`default`: the saved card, if there is one; `card`: one that your client"
        " confirms",
    )
    payment_method_id: PaymentMethodName | None = Field(
        None,
        description="The saved card; null: the default one. With `payment_method: default` only",
    )

    @model_validator(mode="after")
    def _names_a_saved_card(self) -> Self:
        if self.payment_method_id is not None and self.payment_method == "card":
            raise ValueError("payment_method_id is only allowed with payment_method: default")
        return self
