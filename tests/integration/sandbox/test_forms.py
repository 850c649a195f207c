"""The form decoder against the SDK's own encoder, and the poster against odd servers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe._encode import _api_encode

from sandbox import form, problems
from sandbox.poster import Poster

NAMES = st.text("abcdefghij_", min_size=1, max_size=8)
LETTERS = "abz019 _-.&=+%;#[]/?\\\"'\n\täß€漢😀"
WORDS = st.text(LETTERS, max_size=12)
TREES = st.recursive(
    WORDS,
    lambda inner: (
        st.dictionaries(NAMES, inner, min_size=1, max_size=4)
        | st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=12,
)


def as_read(value: Any) -> Any:
    """A list as the decoder gives it: a map of its numbers."""
    if isinstance(value, list):
        return {str(place): as_read(item) for place, item in enumerate(value)}
    if isinstance(value, dict):
        return {name: as_read(item) for name, item in value.items()}
    return value


@given(st.dictionaries(NAMES, TREES, max_size=5))
def test_what_the_sdk_encodes_is_read_back(params: dict[str, Any]) -> None:
    encoded = urlencode(list(_api_encode(params))).replace("%5B", "[").replace("%5D", "]")
    assert form.decode(encoded) == as_read(params)


@given(st.text(LETTERS, max_size=60))
def test_any_text_is_read_or_refused_never_a_crash(text: str) -> None:
    with suppress(problems.ApiError):
        form.decode(text)


def test_lists_may_leave_out_their_numbers() -> None:
    assert form.decode("expand[]=a&expand[]=b") == {"expand": {"0": "a", "1": "b"}}


def test_a_form_has_bounds() -> None:
    for text in ("&".join(f"a{n}=1" for n in range(1_001)), "a" + "[b]" * 9 + "=1"):
        with pytest.raises(problems.ApiError):
            form.decode(text)


@asynccontextmanager
async def server(answer: Callable[[int], bytes]) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that answers the nth request of a connection; gives its address and the counts."""
    counts: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts.append(0)
        place = len(counts) - 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(4)
                counts[place] += 1
                writer.write(answer(counts[place]))
                await writer.drain()
                if b"close" in answer(counts[place]):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/hooks?a=1", counts
    listening.close()


async def statuses(url: str, count: int) -> list[Any]:
    """Post so often; the status, or the name of the error."""
    poster = Poster(url, 1.0)

    async def one() -> Any:
        try:
            return await poster.post(b"body", {"A": "b"})
        except (OSError, TimeoutError) as error:
            return type(error).__name__

    found = [await one() for _ in range(count)]
    await poster.close()
    return found


@pytest.mark.parametrize(
    ("answer", "expected", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", [200, 200], [2]),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", [204, 204], [2]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", [200, 200],
         [1, 1]),
        (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [500, 500], [1, 1]),
        (b"nonsense\r\n\r\n", ["ConnectionError", "ConnectionError"], [1, 1]),
        (b"", ["TimeoutError"], [1]),
    ],
)  # fmt: skip
async def test_the_poster_copes_with_every_kind_of_answer(
    answer: bytes, expected: list[Any], connections: list[int]
) -> None:
    async with server(lambda _: answer) as (url, counts):
        assert await statuses(url, len(expected)) == expected
        assert counts == connections


async def test_a_kept_connection_that_was_closed_is_replaced() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with server(lambda n: answer if n == 1 else answer + b"close") as (url, counts):
        poster = Poster(url, 1.0)
        assert await poster.post(b"body", {}) == 200
        assert await poster.post(b"body", {}) == 200
        await asyncio.sleep(0.05)
        assert await poster.post(b"body", {}) == 200
        await poster.close()
        assert counts == [2, 1]


async def test_nobody_listening_is_an_error() -> None:
    assert await statuses("http://127.0.0.1:1/", 1) == ["ConnectionRefusedError"]
    with pytest.raises(ValueError, match="not an http address"):
        Poster("nonsense", 1.0)
