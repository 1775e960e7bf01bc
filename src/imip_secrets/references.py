"""The grammar of ``secrets``: one reference per line.

::

    line      = [ NAME " = " ] reference        NAME may end in "*": a prefix for every key
    reference = scheme "://" path [ "?" option *( "&" option ) ] [ "#" key ]

Blank lines, lines that start with ``#`` and what follows white space and a
``#`` are comments. The path and the options' values are percent-decoded; the
key stands as it is written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from imip_secrets import document
from imip_secrets.errors import Problem
from imip_secrets.foreign import tame
from imip_secrets.lines import EscapeError, unescape
from imip_secrets.lines import written as written_lines
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.base import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imip_secrets.stores import Scheme

COMMON_OPTIONS = frozenset({"optional", "default", "decode", "encode", "as", "mask"})

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NOT_NAME = re.compile(r"[^A-Za-z0-9_]", re.ASCII)
_SHOWN = 120


class Reference(NamedTuple):
    """What a line refers to and how it is to be taken.

    Args:
        scheme: The store, a key of :data:`imip_secrets.stores.SCHEMES`.
        target: What is read there; for a listing, the start of the names.
        listing: ``*`` (names up to the next ``/``), ``**`` (every level), or
            "" for the one secret.
        key: The one key to take, or None.
        optional: Whether a missing secret or key is no mistake.
        default: The text that stands in for a missing secret or key, or None.
        decode: Whether the value is base64 to be decoded.
        encode: Whether the value is to be written as base64.
        as_file: Whether the value goes to a file and the variable holds its path.
        mask: True or False when masking is ordered by hand, None by the rules.

    """

    scheme: str
    target: Target
    listing: str = ""
    key: str | None = None
    optional: bool = False
    default: str | None = None
    decode: bool = False
    encode: bool = False
    as_file: bool = False
    mask: bool | None = None


class Line(NamedTuple):
    """One line of the request.

    Args:
        number: Counted from 1, comments included.
        text: The reference as it is written, for people.
        reference: What it means.
        name: The variable's name as written, or None.
        prefix: What stands before every key's name, or None.

    """

    number: int
    text: str
    reference: Reference
    name: str | None = None
    prefix: str | None = None

    @property
    def where(self) -> str:
        """The place that a problem with this line is at."""
        return f"line {self.number}, {tame(self.text, _SHOWN)}"


class _Mistake(Exception):  # noqa: N818 - it never leaves this module: it becomes a Problem with the line's number
    """What is wrong with a line, and what would be right."""

    def __init__(self, *, what: str, remedy: str) -> None:
        super().__init__()
        self.what = what
        self.remedy = remedy


class _Parts(NamedTuple):
    """A reference cut at its marks, nothing decoded."""

    scheme: Scheme
    path: str
    options: str
    key: str | None

    def written_options(self) -> list[str]:
        """Return the options one by one, as they are written."""
        return [option for option in self.options.split("&") if option]

    def shown(self, *, without: str = "", instead: str = "") -> str:
        """Return the reference for people as it would be right.

        Args:
            without: The name of an option that is left out, or left once when it stands twice.
            instead: What stands in its place.

        """
        options = [instead if option.partition("=")[0] == without else option for option in self.written_options()]
        question = "?" if any(options) else ""
        key = "" if self.key is None else f"#{self.key}"
        right = "&".join(dict.fromkeys(filter(None, options)))
        return tame(f"{self.scheme.name}://{self.path}{question}{right}{key}", _SHOWN)


def parse(text: str) -> tuple[list[Line], list[Problem]]:
    """Read every line; return what is right and a problem for each line that is not.

    A text with nothing but comments is a problem too. Nothing is looked up.
    """
    read = [_read(number, line) for number, line in written_lines(text)]
    lines = [each for each in read if isinstance(each, Line)]
    problems = [each for each in read if isinstance(each, Problem)]
    if not read:
        problems.append(
            Problem(
                "it names no secret",
                "input secrets",
                f"Write one reference per line, such as {SCHEMES['aws'].example}.",
            )
        )
    return lines, problems


def _read(number: int, written: str) -> Line | Problem:
    try:
        return _line(number, written)
    except _Mistake as mistake:
        return Problem(mistake.what, f"line {number}, {tame(written, _SHOWN)}", mistake.remedy)


def _line(number: int, written: str) -> Line:
    """Read one line that is not empty."""
    name, text = _cut_name(written)
    reference = _reference(text)
    if name is None:
        return Line(number, text, reference)
    if name.endswith("*"):
        _check_name(name[:-1], text, star="*")
        if reference.key is not None:
            raise _Mistake(
                what="a prefix takes every key, but the reference names one", remedy=f"Write {name[:-1]}NAME = {text}."
            )
        return Line(number, text, reference, prefix=name[:-1])
    _check_name(name, text)
    if reference.listing:
        raise _Mistake(what="one name cannot hold all that a listing finds", remedy=f"Write {name}_* = {text}.")
    return Line(number, text, reference, name=name)


def _cut_name(written: str) -> tuple[str | None, str]:
    """Cut ``NAME = `` off a line: an "=" that stands before the scheme."""
    before, mark, _ = written.partition("://")
    if not mark:
        before = written
    name, equals, _ = before.partition("=")
    if not equals or "?" in name:
        return None, written
    return name.strip(), written.partition("=")[2].strip()


def _check_name(name: str, text: str, star: str = "") -> None:
    """Refuse what no shell takes for a variable's name."""
    if _NAME.fullmatch(name):
        return
    better = _NOT_NAME.sub("_", name) or ("NAME_" if star else "NAME")
    if not _NAME.fullmatch(better):
        better = "_" + better
    shown = tame(name, 60)
    raise _Mistake(
        what=f"{shown!r} is no name for a variable: letters, digits and _ only, no digit first",
        remedy=f"Write {tame(better, 60)}{star} = {tame(text, _SHOWN)}.",
    )


def _reference(text: str) -> Reference:
    """Read a reference, ``scheme://path?options#key`` with all that may be left out."""
    parts = _cut(text)
    options = _options(parts)
    stem, listing = _cut_listing(parts)
    path = _decode(stem, "path")
    if parts.scheme.slash_forgiven:
        path = path.lstrip("/")
    if not path and not listing:
        raise _Mistake(what="the path is empty", remedy=f"Write it like {parts.scheme.example}.")
    if listing:
        _check_listing(parts, options)
    else:
        path = _cut_version(parts.scheme, path, options)
    if "decode" in options and "encode" in options:
        right = parts.shown(without="encode")
        raise _Mistake(what="decode and encode undo each other", remedy=f"Leave one of them out: {right}.")
    if "body" in options:
        options["body"] = _body(options["body"])
    return Reference(
        scheme=parts.scheme.name,
        target=Target(path, **{name: options.get(name) for name in _OF_THE_TARGET}),
        listing=listing,
        key=parts.key,
        optional="optional" in options,
        default=options.get("default"),
        decode="decode" in options,
        encode="encode" in options,
        as_file="as" in options,
        mask={"on": True, "off": False}.get(options.get("mask", "")),
    )


def _cut(text: str) -> _Parts:
    """Cut a reference at its marks and find its scheme."""
    scheme_name, mark, rest = text.partition("://")
    if not mark:
        raise _Mistake(what="there is no scheme such as aws:// in it", remedy=f"Write it like {_guess(text)}.")
    scheme = SCHEMES.get(scheme_name)
    if scheme is None:
        raise _Mistake(
            what=f"{tame(scheme_name, 40)!r} is no store that is known here ({', '.join(SCHEMES)})",
            remedy=f"Write it like {_guess(text)}.",
        )
    if re.search(r"\s[\w.-]+://", rest):
        first, second = re.split(r"\s+(?=(?:\w+\*?\s*=\s*)?[\w.-]+://)", text, maxsplit=1)
        remedy = f"Write one reference per line: {tame(first, _SHOWN)}, and on the next {tame(second, _SHOWN)}."
        raise _Mistake(what="there are two references on one line", remedy=remedy)
    before, hash_mark, key = rest.partition("#")
    if hash_mark and not key:
        raise _Mistake(
            what="there is no key after the #", remedy=f"Write it like {scheme.example}, or leave the # out."
        )
    path, _, options = before.partition("?")
    return _Parts(scheme, path, options, key if hash_mark else None)


def _options(parts: _Parts) -> dict[str, str]:
    """Read the options: each once, known to the store, with a value that it takes."""
    known = COMMON_OPTIONS | parts.scheme.options
    options: dict[str, str] = {}
    for written in parts.written_options():
        name, equals, raw = written.partition("=")
        if name not in known:
            what = f"{tame(name, 40)!r} is no option of {parts.scheme.name}://"
            raise _Mistake(what=what, remedy=_nearest(parts, written, known))
        if name in options:
            right = parts.shown(without=name, instead=written)
            raise _Mistake(what=f"the option {name} is given twice", remedy=f"Leave one of them out: {right}.")
        options[name] = _decode(raw, f"option {name}")
        if name == "optional" and not equals:
            options[name] = "true"
        allowed = _WORDS.get(name)
        if allowed and options[name] not in allowed:
            right = "optional" if name == "optional" else " or ".join(f"{name}={word}" for word in allowed)
            raise _Mistake(what=f"{tame(written, 40)!r} is no value of the option {name}", remedy=f"Write {right}.")
        if not options[name] and (name, equals) != ("default", "="):
            remedy = f"Write {name}=..., or leave it out: {parts.shown(without=name)}."
            raise _Mistake(what=f"the option {name} has no value", remedy=remedy)
    return options


_OF_THE_TARGET = ("version", "stage", "region", "namespace", "body")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "optional": ("true",),
    "decode": ("base64",),
    "encode": ("base64",),
    "as": ("file",),
    "mask": ("on", "off"),
}


def _cut_listing(parts: _Parts) -> tuple[str, str]:
    """Cut a star or two off the end of a path, where alone they may stand; ``%2A`` is a star of the name."""
    stem = parts.path.rstrip("*")
    listing = parts.path[len(stem) :]
    if len(listing) > len("**") or "*" in stem:
        raise _Mistake(
            what="* and ** stand only at the end of a path",
            remedy=f"Write {parts.scheme.name}://{tame(stem.partition('*')[0], 60)}*, or %2A for a star in a name.",
        )
    return stem, listing


def _cut_version(scheme: Scheme, path: str, options: dict[str, str]) -> str:
    """Take a version off the end of a path, so that it is the same as the option; return the rest."""
    *before, last = path.split("/")
    if not last or not scheme.version_after or len(before) != scheme.version_after:
        return path
    if options.setdefault("version", last) != last:
        right = f"{scheme.name}://{'/'.join(before)}?version={options['version']}"
        what = "the path and the option version name two versions"
        raise _Mistake(what=what, remedy=f"Leave one of them out: {tame(right, _SHOWN)}.")
    return "/".join(before)


def _check_listing(parts: _Parts, options: Mapping[str, str]) -> None:
    """Refuse what means one secret and can mean nothing for many."""
    shown = f"{parts.scheme.name}://{tame(parts.path, 60)}"
    if parts.key is not None:
        raise _Mistake(what="a listing takes whole secrets, but the reference names a key", remedy=f"Write {shown}.")
    for name in ("version", "default", "body"):
        if name in options:
            raise _Mistake(what=f"the option {name} means one secret, not a listing", remedy=f"Write {shown}.")


def _body(text: str) -> str:
    """Read the object that is to be sent, and write it in one way: lines that send the same share the answer."""
    try:
        body = document.parse(text)
    except document.DocumentError as error:
        raise _Mistake(what=f"the option body cannot be sent: {error}", remedy=_BODY_REMEDY) from None
    if not isinstance(body, dict):
        raise _Mistake(what="the option body is no JSON object", remedy=_BODY_REMEDY)
    return document.compact(document.in_order(body))


_BODY_REMEDY = 'Write it like body={"common_name":"app.example.com"}, with %26 for & and %23 for #.'


def _decode(text: str, part: str) -> str:
    """Percent-decode; anything that is no escape, no UTF-8 or no visible character is a mistake."""
    try:
        decoded = unescape(text)
    except EscapeError as error:
        raise _Mistake(what=error.what.format(f"the {part}"), remedy=error.remedy) from None
    if part == "path" and not all(char.isprintable() for char in decoded):
        right = tame("".join(char for char in decoded if char.isprintable()), _SHOWN)
        raise _Mistake(what="there is a control character in the path", remedy=f"Take it out: {right}.")
    return decoded


def _guess(text: str) -> str:
    """Give the reference that was probably meant: one that is in the text, else a known scheme before what is there."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    inside = re.search(rf"\b(?:{'|'.join(SCHEMES)})://[^\s\"']+", text)
    if inside:
        return tame(inside[0], _SHOWN)
    word = re.split(r"\W", text, maxsplit=1)[0]
    rest = text[len(word) :]
    near = difflib.get_close_matches(word.lower(), SCHEMES, n=1, cutoff=0.5)
    path = rest.lstrip(":/") if rest.startswith(":") or (word in SCHEMES and rest.startswith("/")) else text.lstrip("/")
    return f"{near[0] if near else 'aws'}://{tame(path or 'imip/production', _SHOWN)}"


def _nearest(parts: _Parts, written: str, known: Iterable[str]) -> str:
    """Show the reference with the option that was probably meant, else without and with the names of all."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    name, equals, value = written.partition("=")
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"Did you mean {near[0]}? Write {parts.shown(without=name, instead=near[0] + equals + value)}."
    right = parts.shown(without=name)
    return f"Leave it out: {right}. The options are {', '.join(sorted(known))}."
