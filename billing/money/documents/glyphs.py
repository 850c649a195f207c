"""Characters that the fonts of documents can show, and texts made fit for them. Pure."""

import re
import struct
import unicodedata
from collections.abc import Container, Iterable, Iterator
from typing import Any, Final

REPLACEMENT: Final = 0xFFFD
LONGEST_WORD: Final = 24
"""A longer word without a hyphen may be broken inside, so that it does not leave the page."""
LONGEST_TEXT: Final = 2_000
_SPACE: Final = re.compile(r"\s+")
_WORD: Final = re.compile(rf"[^\s-]{{{LONGEST_WORD},}}")
_BREAK: Final = "\u200b"
_JOINERS: Final = frozenset({0x200C, 0x200D})
"""Scripts of India and Persia are spelled with them."""
_LEFTWARD: Final = r"\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
"""The blocks of scripts that are written from right to left, such as Hebrew and Arabic."""
_TURNED: Final = re.compile(rf"[{_LEFTWARD}]++(?=[\W_]*+\d[\W\d_]*+[^\W\d_{_LEFTWARD}])")
"""Words in such a script that would draw the number of the words behind them to their left."""
_RIGHTWARD: Final = "\u200e"


def covered(fonts: Iterable[bytes]) -> frozenset[int]:
    """The code points that at least one of these fonts has a glyph for."""
    return frozenset(point for font in fonts for point in _points(font))


def fit(text: str, shown: Container[int]) -> str:
    """The text as a document or a page may show it.

    Characters without a glyph are replaced. Those that affect their surroundings are left out, and
    a mark ends a name from right to left: a name must not reverse the amounts beside it. A number
    with no other words behind it belongs to the name.
    """
    plain = unicodedata.normalize("NFC", _SPACE.sub(" ", text).strip()[:LONGEST_TEXT])
    points = (ord(character) for character in plain)
    kept = [
        one if one in shown or one in _JOINERS else REPLACEMENT for one in points if _is_text(one)
    ]
    plain = _WORD.sub(_broken, "".join(map(chr, kept)))
    return _TURNED.sub(rf"\g<0>{_RIGHTWARD}", plain)


def fit_all(content: Any, shown: frozenset[int]) -> Any:
    """Return a document with every text made fit."""
    if isinstance(content, str):
        return fit(content, shown)
    if isinstance(content, list):
        return [fit_all(one, shown) for one in content]
    if isinstance(content, dict):
        return {name: fit_all(one, shown) for name, one in content.items()}
    return content


def _broken(match: re.Match[str]) -> str:
    word = match[0]
    parts = range(0, len(word), LONGEST_WORD // 2)
    return _BREAK.join(word[at : at + LONGEST_WORD // 2] for at in parts)


def _is_text(point: int) -> bool:
    """False for controls, direction marks and overrides, variation selectors and surrogates."""
    if point in _JOINERS or point == 0x20:
        return True
    if 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF:
        return False
    return unicodedata.category(chr(point)) not in ("Cc", "Cf", "Cs")


def _points(font: bytes) -> Iterator[int]:
    """The code points of a font's character map, in its formats 4 and 12."""
    (count,) = struct.unpack_from(">H", font, 4)
    tables = dict(_entry(font, 12 + 16 * number) for number in range(count))
    at = tables[b"cmap"]
    (count,) = struct.unpack_from(">H", font, at + 2)
    for number in range(count):
        platform, _, offset = struct.unpack_from(">HHI", font, at + 4 + 8 * number)
        if platform in (0, 3):
            yield from _mapped(font, at + offset)


def _entry(font: bytes, at: int) -> tuple[bytes, int]:
    tag, _, offset, _ = struct.unpack_from(">4sIII", font, at)
    return tag, offset


def _mapped(font: bytes, at: int) -> Iterator[int]:
    (form,) = struct.unpack_from(">H", font, at)
    if form == 12:
        (count,) = struct.unpack_from(">I", font, at + 12)
        for number in range(count):
            first, last, _ = struct.unpack_from(">III", font, at + 16 + 12 * number)
            yield from range(first, last + 1)
    elif form == 4:
        yield from _segments(font, at)


def _segments(font: bytes, at: int) -> Iterator[int]:
    """Read format 4: a segment maps to glyphs by a delta, or by a list in which 0 is no glyph."""
    (double,) = struct.unpack_from(">H", font, at + 6)
    ends, starts = at + 14, at + 16 + double
    for place in range(0, double, 2):
        (last,) = struct.unpack_from(">H", font, ends + place)
        first, delta = (
            struct.unpack_from(">H", font, starts + place + more * double)[0] for more in (0, 1)
        )
        listed = starts + 2 * double + place
        (offset,) = struct.unpack_from(">H", font, listed)
        for point in range(first, min(last, 0xFFFE) + 1):
            glyph = delta + point
            if offset:
                (glyph,) = struct.unpack_from(">H", font, listed + offset + 2 * (point - first))
            if glyph & 0xFFFF:
                yield point
