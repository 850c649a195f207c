"""The coupon code as a payer writes it; it can never be a card number."""

from typing import Annotated

from pydantic import Field

from api.requests.card_numbers import NoCardNumber

WrittenCode = Annotated[
    str, Field(min_length=1, max_length=64, examples=["WELCOME20"]), NoCardNumber
]
CouponCode = Annotated[WrittenCode | None, Field(description="A coupon to redeem, in any letters")]
