"""Masks: ``Sdk/DTLogging/Logging/SecretMasker.cs`` and ``ValueEncoders.cs``."""

from __future__ import annotations

import base64
from urllib.parse import quote

# The encoders that Runner.Common/HostContext.cs registers. They see UTF-16 lengths, as .NET does.
MINIMUM_SECTION = 6
MINIMUM_QUOTED = 8


def units(text: str) -> int:
    """Count as .NET counts: in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def encodings(value: str) -> list[str]:
    """Return what the runner's 11 encoders make of a value, empty ones left out."""
    data = value.encode("utf-8", "replace")
    made = [
        _base64(data, 0),
        _base64(data, 1),
        _base64(data, 2),
        value.replace('"', '\\"'),
        value.replace("'", "''"),
        _json(value),
        quote(data, safe=""),
        _xml(value),
        value[1:-1] if units(value) > MINIMUM_QUOTED and value[0] == value[-1] == '"' else "",
        _before_ampersand(value),
        _after_ampersand(value),
    ]
    return [item for item in made if item]


def _base64(data: bytes, shift: int) -> str:
    return base64.b64encode(data[shift:] if len(data) > shift else data).decode()


def _json(value: str) -> str:
    """Escape as Newtonsoft's JsonConvert.ToString does: no non-ASCII but the three odd line separators."""
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
    odd = "\x85\u2028\u2029"
    return "".join(short.get(char) or (f"\\u{ord(char):04x}" if char < " " or char in odd else char) for char in value)


def _xml(value: str) -> str:
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        value = value.replace(char, entity)
    return value


def _before_ampersand(value: str) -> str:
    """Give what PowerShell prints before the part that it colours."""
    end = value.index("&+") + 2 if "&+" in value else value.rfind("&") + 1
    return _long_enough(value[:end])


def _after_ampersand(value: str) -> str:
    """Give what PowerShell prints after the letter that it colours."""
    if "&" not in value:
        return ""
    start = value.index("&+") + 3 if "&+" in value else value.rindex("&") + 1
    return _long_enough(value[start:])


def _long_enough(section: str) -> str:
    return section if units(section) >= MINIMUM_SECTION else ""


class Masker:
    """All masks of a job. There is no least length: whatever is added is masked."""

    def __init__(self) -> None:
        """Start without masks."""
        self.added: dict[str, None] = {}
        self._all: set[str] = set()

    def add(self, value: str) -> None:
        """Mask a value and all its encodings."""
        if value and value not in self.added:
            self.added[value] = None
            self._all.update((value, *encodings(value)))

    def mask(self, text: str) -> str:
        """Return the text with every mask as ``***``; masks that overlap or touch give one."""
        spans = sorted(span for secret in self._all if secret in text for span in _spans(secret, text))
        shown, at = [], 0
        for start, end in _merge(spans):
            shown += [text[at:start], "***"]
            at = end
        return "".join([*shown, text[at:]])


def _spans(secret: str, text: str) -> list[tuple[int, int]]:
    """Give every place of the secret, overlapping ones too."""
    found, start = [], text.find(secret)
    while start >= 0:
        found.append((start, start + len(secret)))
        start = text.find(secret, start + 1)
    return found


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
