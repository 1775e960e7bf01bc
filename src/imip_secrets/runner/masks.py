r"""The masks of a value: which lines the runner is told to hide.

The runner hides a mask and a few encodings of it wherever they stand in a log
(actions/runner ``SecretMasker.cs``, ``ValueEncoders.cs``). It has no least
length and hides every line of a mask by itself, so a careless mask (``{``,
``true``, ``1``) wrecks the log and shows the value by its absence; and it does
not know hex, shell quotes, ``\u`` escapes or base64 inside a longer text. So
the masks are chosen here: one line each, trimmed as the runner trims, never
one of those that must not be (:func:`is_hideable`), with the encodings that the
runner lacks. They also serve where the runner's own encodings do not exist, as
in ``act``; there a mask that holds ``::`` is not understood, which no other
spelling of it can help.

What can still be read: of base64 that holds the value among other bytes, the
character at each end of it, which depends on the neighbours too; and such a
text when it is broken into lines, where a line ends within the value.
"""

from __future__ import annotations

import json
import re
import string
from binascii import b2a_base64
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imip_secrets.secret import Secret

# Of a value of more bytes only the lines are masked (contract, section 4).
WHOLE_LIMIT = 16 * 1024
# Masks slow the runner down, which searches every line of every later log for each of them. A value of more
# lines is not wholly masked, and says so; encodings beyond the limit are left out, those of the whole come first.
LINES_LIMIT = 5000
ENCODINGS_LIMIT = 600
# How deep texts within texts are looked for: escaped JSON in JSON doubles at each level. "password=password=..." would
# else give thousands, each nearly as long as the value.
LEVELS = 8
# However low the floor: an encoding of fewer characters is found in any log.
ENCODING_FLOOR = 4
NUMBER_FLOOR = 6
# Where `base64` and `openssl base64` break their lines, and how short a last piece is still worth a mask.
BASE64_COLUMNS = (76, 64)
BASE64_PIECE_FLOOR = 8

_WORDS = frozenset({"true", "false", "null", "none", "yes", "no", "on", "off"})
_PUNCTUATION = string.punctuation + string.whitespace

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
# One table for each way to write an apostrophe, and one that leaves both quotes alone.
_MARKUP = tuple(
    str.maketrans(table)
    for table in (
        _HTML | {"'": "&#x27;"},
        _HTML | {"'": "&#39;"},
        _HTML | {"'": "&apos;"},
        {char: _HTML[char] for char in "&<>"},
    )
)
# Go's encoding/json, and with it kubectl, terraform and gh.
_GO_JSON = str.maketrans({"&": "\\u0026", "<": "\\u003c", ">": "\\u003e"})
# printf %q, and a word between double quotes.
_SHELL = (
    str.maketrans({char: f"\\{char}" for char in " \t!\"#$&'()*,;<>?[\\]^`{|}~"}),
    str.maketrans({char: f"\\{char}" for char in '"$\\`'}),
)
_URL_SAFE_BASE64 = str.maketrans("+/", "-_")
# Left as they are by: nothing but RFC 3986, paths, and JavaScript's encodeURIComponent and encodeURI.
_URL_SAFE = ("", "/", "!~*'()", "!~*'();/?:@&=+$,#")

_KEY = r"(?:password|passwd|pwd)"
# The password in a URL's user part. The second pattern takes one that should have been percent-encoded, of a
# bounded length, as it is tried at each address. The others: a query, an ADO or ODBC string, and libpq's words.
_PASSWORDS = (
    r"://[^\s:/?#@\"']*:([^\s/?#]+)@",
    r"://[^\s:/?#@\"']*:(\S{1,512})@",
    rf"(?i)[?&]{_KEY}=([^&#\s\"']+)",
    rf"(?i)(?:^|;)\s*{_KEY}\s*=\s*(?:\"([^\"]+)\"|'([^']+)'|([^;\"'][^;]*))",
    rf"(?i)(?:^|\s){_KEY}\s*=\s*(?:'([^']+)'|([^\s;'\"]+))",
)
_UNSAYABLE = re.compile("[\r\n\ud800-\udfff]")
_PASSWORD_HINT = re.compile(r"(?i)://|password|passwd|pwd")


class Masks(NamedTuple):
    """What is hidden of one value.

    Args:
        lines: The masks, longest first, none twice, each one line.
        bare: Whether the value, or a line of it, can be read in a log all the
            same: it is too short, a common word, a small number or nothing but
            punctuation. (A line of punctuation within a longer value, such as
            the ``{`` of a JSON text, tells nothing and does not count.)

    """

    lines: tuple[str, ...]
    bare: bool


def forms(value: Secret, floor: int, *, forced: bool = False) -> Masks:
    """Choose the masks of a value.

    Masked are its lines, each string in it if it is JSON, the passwords of
    the addresses in it, and the encodings of all these and of the whole.

    Args:
        value: The value, text or binary.
        floor: What has fewer characters is not masked.
        forced: Mask whatever is not blank (``mask=on``).

    """
    data = value.reveal_bytes()
    choice = _Choice(floor, forced=forced)
    text = _decoded(data)
    if text is None:
        return choice.of_binary(data)
    return choice.of_text(text, whole=len(data) <= WHOLE_LIMIT)


class _Choice:
    """The masks chosen so far, and the rule they are chosen by."""

    def __init__(self, floor: int, *, forced: bool) -> None:
        self._floor = floor
        self._forced = forced
        self._chosen: dict[str, None] = {}

    def of_text(self, text: str, *, whole: bool) -> Masks:
        own = lines_of(text)
        self._take(own[:LINES_LIMIT])
        told = [line for line in own if not _is_punctuation(line)] or own
        bare = any(line not in self._chosen for line in told)
        if whole:
            self._take_all(inner_texts(text))
        return self._masks(bare=bare)

    def of_binary(self, data: bytes) -> Masks:
        """Hide the encodings of the whole, and the lines that happen to be text."""
        pieces = (_decoded(piece) for piece in re.split(rb"[\r\n]", data[:WHOLE_LIMIT]))
        self._take(line for piece in pieces if piece for line in lines_of(piece))
        if len(data) <= WHOLE_LIMIT:
            self._take_encodings((*encodings_of_bytes(data), *_wrapped_base64(data)))
        return self._masks(bare=not self._chosen)

    def _take_all(self, texts: list[str]) -> None:
        for text in texts:
            self._take(lines_of(text))
        lines = list(self._chosen)
        wholes = [text.strip() for text in texts]
        self._take_encodings(
            chain(
                (form for text in wholes if self._may_hide(text) for form in _encodings_of_whole(text)),
                (form for line in lines if line not in wholes for form in encodings_of(line)),
            )
        )

    def _take(self, lines: Iterable[str]) -> None:
        self._chosen.update((line, None) for line in lines if self._may_hide(line) and _is_sayable(line))

    def _take_encodings(self, encodings: Iterable[str]) -> None:
        floor = ENCODING_FLOOR if self._forced else max(self._floor, ENCODING_FLOOR)
        limit = len(self._chosen) + ENCODINGS_LIMIT
        for form in map(str.strip, encodings):
            if len(self._chosen) >= limit:
                break
            if is_hideable(form, floor) and _is_sayable(form):
                self._chosen[form] = None

    def _may_hide(self, text: str) -> bool:
        return self._forced or is_hideable(text, self._floor)

    def _masks(self, *, bare: bool) -> Masks:
        return Masks(tuple(sorted(self._chosen, key=lambda text: (-len(text), text))), bare)


def is_hideable(text: str, floor: int) -> bool:
    """Tell whether a mask of this text would hide it and little else."""
    return (
        len(text) >= floor
        and text.lower() not in _WORDS
        and not _is_punctuation(text)
        and not (len(text) < NUMBER_FLOOR + 2 and _is_small_number(text))
    )


def _is_punctuation(text: str) -> bool:
    return not text.strip(_PUNCTUATION)


def _is_small_number(text: str) -> bool:
    digits = text.lstrip("+-").replace(".", "", 1)
    return digits.isdecimal() and len(digits) < NUMBER_FLOOR


def _is_sayable(text: str) -> bool:
    """Tell whether the runner can be told this as a mask: one line, and no half surrogate pair, which has no UTF-8."""
    return not _UNSAYABLE.search(text)


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def lines_of(text: str) -> list[str]:
    """Split as the runner does: at CR and LF alone, without the white space round a line."""
    return [line for piece in re.split(r"[\r\n]", text) if (line := piece.strip())]


def inner_texts(text: str) -> list[str]:
    """Return the text, the strings of its JSON and its passwords, those within these too."""
    found = {text: None}
    level = [text]
    for _ in range(LEVELS):
        inner = dict.fromkeys(chain.from_iterable((*_strings(outer), *_passwords(outer)) for outer in level))
        level = [each for each in inner if each not in found]
        found.update(dict.fromkeys(level))
    return list(found)


def _strings(text: str) -> Iterator[str]:
    """Give each string of a JSON text; keys are none."""
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[", '"')):
        return
    try:
        # Each object becomes the list of its values, so that a key that stands twice loses none.
        # A number may have more digits than int() takes; only the strings count here.
        document = json.loads(
            text.lstrip("\ufeff"),
            strict=False,
            parse_int=float,
            object_pairs_hook=lambda pairs: [item for _, item in pairs],
        )
    except (ValueError, RecursionError):
        return
    waiting = [document]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            waiting += item


def _passwords(text: str) -> Iterator[str]:
    """Give the passwords in addresses and connection strings, as written and decoded."""
    if not _PASSWORD_HINT.search(text):
        return
    for pattern in _PASSWORDS:
        for match in re.finditer(pattern, text):
            password = match[match.lastindex or 0]
            yield password
            yield unquote(password)


def _encodings_of_whole(text: str) -> Iterator[str]:
    yield from encodings_of(text)
    yield from _wrapped_base64(text.encode("utf-8", "surrogatepass"))


def encodings_of(text: str) -> Iterator[str]:
    """Give what the usual encoders make of a text, without the quotes they put round it."""
    yield from encodings_of_bytes(text.encode("utf-8", "surrogatepass"))
    if text.isascii() and text.isalnum():
        return
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield once
        yield json.dumps(once, ensure_ascii=ascii_only)[1:-1]
        yield once.translate(_GO_JSON)
    for table in (*_MARKUP, *_SHELL):
        yield text.translate(table)
    yield text.replace("'", "'\"'\"'")
    yield text.replace("'", "'\\''")
    yield repr(text)[1:-1]
    # Within a longer text that holds both quotes, repr escapes the apostrophe.
    yield repr(f"{text}'\"")[1:-4]
    yield ascii(text)[1:-1]


def encodings_of_bytes(data: bytes) -> Iterator[str]:
    """Give base64, hex, percent-encoding and Python's spelling of bytes."""
    for shift in range(3):
        # The characters that depend on the value alone, with `shift` bytes before it in its group of three.
        core = _base64(bytes(shift) + data)[-(-8 * shift // 6) : 8 * (shift + len(data)) // 6]
        yield core
        yield core.translate(_URL_SAFE_BASE64)
    # By itself a value ends in a character more, and in padding.
    yield _base64(data)
    yield _base64(data).translate(_URL_SAFE_BASE64)
    yield data.hex()
    yield data.hex().upper()
    for quoted in {*(quote(data, safe=safe) for safe in _URL_SAFE), quote_plus(data)}:
        yield quoted
        first, *escaped = quoted.split("%")
        yield "%".join([first, *(f"{rest[:2].lower()}{rest[2:]}" for rest in escaped)])
    yield repr(data)[2:-1]


def _wrapped_base64(data: bytes) -> Iterator[str]:
    """Give the lines that ``base64`` and ``openssl base64`` print, but a last one that is too short to tell much."""
    encoded = _base64(data).rstrip("=")
    for columns in BASE64_COLUMNS:
        if len(encoded) > columns:
            pieces = (encoded[start : start + columns] for start in range(0, len(encoded), columns))
            yield from (piece for piece in pieces if len(piece) >= BASE64_PIECE_FLOOR)


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")
