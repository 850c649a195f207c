"""The profile of this process, for constants that modules set before there are settings."""

import os
from typing import Final, Literal

Profile = Literal["default", "test"]
TEST_PROFILE: Final = os.environ.get("BILLING_PROFILE") == "test"
