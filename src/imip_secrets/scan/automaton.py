"""The library that finds thousands of texts in one pass: ahocorasick_rs, behind this adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.errors import ImipError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ahocorasick_rs import BytesAhoCorasick


class Automaton:
    """Finds texts in bytes, those too that overlap.

    Args:
        texts: What to find, none empty.

    """

    def __init__(self, texts: Sequence[bytes]) -> None:
        """Build it; the contiguous kind is as fast as any within the memory that we have."""
        self._found = _built(texts) if texts else None

    def find(self, data: bytes | bytearray | memoryview) -> list[tuple[int, int]]:
        """Return the number of each text with the place where it begins, in the order of their ends."""
        if self._found is None:
            return []
        return [(number, start) for number, start, _ in self._found.find_matches_as_indexes(data, overlapping=True)]


def _built(texts: Sequence[bytes]) -> BytesAhoCorasick:
    try:
        from ahocorasick_rs import BytesAhoCorasick, Implementation  # noqa: PLC0415 - its set may be installed late
    except ImportError:
        raise ImipError(missing("ahocorasick-rs")) from None
    return BytesAhoCorasick(texts, implementation=Implementation.ContiguousNFA)


def missing(package: str) -> Problem:
    """Say that a library is not there, which the package does not bring on every machine."""
    return Problem(f"the library {package} is not installed", remedy=f"Install it: pip install {package}.")
