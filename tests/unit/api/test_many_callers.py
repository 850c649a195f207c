"""More callers than are watched."""

import pytest

from api.identity import request_windows
from api.identity.request_windows import RateLimit, RateLimited


def test_a_caller_beyond_those_that_are_watched_is_counted_and_the_first_one_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_windows, "WATCHED_CALLERS", 2)
    rate = RateLimit("1/day")
    for caller in "abc":
        rate.hit(caller)
    for caller in "bc":
        with pytest.raises(RateLimited):
            rate.hit(caller)
    rate.hit("a")
