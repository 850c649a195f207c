"""The code of a coupon as a payer writes it; a coupon never has a card number for its code."""

from typing import Annotated

from pydantic import Field

from api.requests.card_numbers import NoCardNumber

WrittenCode = Annotated[
    str, Field(min_length=1, max_length=64, examples=["WELCOME20"]), NoCardNumber
]
CouponCode = Annotated[WrittenCode | None, Field(description="A coupon to redeem, in any letters")]
