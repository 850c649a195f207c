"""The catalog's tables are shared by the whole run: each test changes things under its own keys."""

from uuid import uuid4

import pytest


@pytest.fixture
def key() -> str:
    """A key of a plan or pack that no other test uses."""
    return f"t{uuid4().hex[:12]}"
