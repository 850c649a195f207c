"""Accounts of their own for tests of credits."""

import pytest

from tests.integration.credits.accounts import CreditAccount, NewAccount


@pytest.fixture
async def account(new_account: NewAccount) -> CreditAccount:
    """A fresh account in real time."""
    return await new_account()
