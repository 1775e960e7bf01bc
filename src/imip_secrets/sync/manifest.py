"""What earlier runs wrote: which version of what, where, and when.

The manifest is kept in an Actions secret of the repository that runs the sync:
encrypted, masked, and passed in as an input. It holds names, version ids and
times; nothing of a value, and no hash of one.

::

    {"v": 1, "sum": "...", "at": TIME, "sources": [[MAPPING, VERSION, [VARIABLE, ...]], ...],
     "sets": [[[SECRET, source, variable, REPOSITORIES], ...], ...],
     "scopes": {"repo:org/app": [set, TIME, [seconds later, ...]], ...},
     "unsure": {"sum": "...", "surmised": {"sets": ..., "scopes": ...}, "intended": {"sets": ..., "scopes": ...}}}

Scopes that have the same secrets share a set, and times are differences, so
that a thousand repositories fit into the 48 KB of a secret; where they do not,
the whole is compressed.

What is unsure (:mod:`imip_secrets.sync.intentions`) stands apart, and only where
there is any: versions of imip-secrets that do not know of it pass over it, and
so take none of it for what they may delete.
"""

from __future__ import annotations

import base64
import json
import zlib
from binascii import Error as Base64Error
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

from imip_secrets.errors import ImipError, Problem
from imip_secrets.sync.targets import name_fault

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from imip_secrets.sync.base import Scope

FORMAT = 1
LIMIT = 48 * 1024
"""How large a secret of GitHub may be, in bytes."""

# GitHub's clock when it answered a write and the time that it then shows for the secret, apart by at most so many
# seconds: the write took place before the answer.
_BEFORE, _AFTER = 15, 2
_UNPACKED = 16 * 1024 * 1024
_AN_INPUT = "input sync-manifest"
_BODY = ("at", "sources", "sets", "scopes")
_TABLES = ("surmised", "intended")


@dataclass(frozen=True, slots=True)
class Row:
    """One secret that we wrote.

    Args:
        mapping: What it was made from (see :attr:`imip_secrets.sync.source.Piece.mapping`).
        variable: Which variable of that.
        version: Which version of that.
        at: When it was written, in seconds since 1970 by GitHub's clock.
        repositories: Of an organisation's secret, the ``repos=`` that was put into force.
        surmised: Whether only an intention and GitHub's time tell that it was we who wrote it. It is not deleted.

    """

    mapping: str
    variable: str
    version: str
    at: int
    repositories: str = ""
    surmised: bool = False

    def is_ours(self, updated: datetime | None) -> bool:
        """Tell whether what GitHub has is what we wrote: a later edit by somebody else shows in its time."""
        return updated is None or self.at - _BEFORE <= int(updated.timestamp()) <= self.at + _AFTER


# By the key of the scope and the name of the secret.
_Rows: TypeAlias = "dict[str, dict[str, Row]]"


@dataclass(slots=True)
class Manifest:
    """All that earlier runs wrote.

    Args:
        rows: By the key of the scope and the name of the secret.
        sources: The variables that a mapping gave at a version.
        saved: When it was saved, in seconds since 1970 by GitHub's clock, or 0 for never.
        intended: What was about to be written when it was saved, and from when on.

    """

    rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    sources: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    saved: int = 0
    intended: dict[str, dict[str, Row]] = field(default_factory=dict)
    _mappings: set[str] = field(default_factory=set)

    def is_empty(self) -> bool:
        """Tell whether nothing was ever written."""
        return not self.rows

    def knows(self, mapping: str) -> bool:
        """Tell whether anything was ever written from this mapping."""
        if not self._mappings:
            self._mappings.update(known for known, _ in self.sources)
        return mapping in self._mappings

    def recall(self, mapping: str, version: str) -> Sequence[str] | None:
        """Return the names that a mapping gave at a version, or None when that is not known."""
        return self.sources.get((mapping, version)) if version else None

    def row(self, scope: Scope, name: str) -> Row | None:
        """Return what is known of one secret."""
        return self.rows.get(key(scope), {}).get(name)

    def of(self, scope: Scope) -> dict[str, Row]:
        """Return what is known of a scope's secrets; not to be changed."""
        return self.rows.get(key(scope), {})


def key(scope: Scope) -> str:
    """Return what stands for a scope: GitHub takes no notice of case."""
    return scope.title.lower()


def load(text: str) -> Manifest:
    """Read a manifest; an empty text is an empty manifest.

    Raises:
        ImipError: it is not one that we wrote, as a whole.

    """
    if not text.strip():
        return Manifest()
    try:
        return _read(_unpacked(_object(text)))
    except _NewerError:
        what = "it was written by a newer version of imip-secrets"
        raise ImipError(Problem(what, _AN_INPUT, "Use that version, or a later one, here too.")) from None
    except (ValueError, TypeError, LookupError, Base64Error, zlib.error, RecursionError):
        raise ImipError(
            Problem(
                "it is not the manifest as imip-secrets wrote it: it is cut off or was changed",
                _AN_INPUT,
                "Pass in the secret that sync-manifest-secret names. To begin anew, leave the input empty for one run: "
                "everything is written again, and nothing is deleted.",
            )
        ) from None


def dump(manifest: Manifest, needed: Collection[str] = ()) -> str:
    """Return the text of a manifest, in at most 48 KB.

    Args:
        manifest: All rows.
        needed: The keys of the scopes that are written to today; the others go first when there is no room.

    Raises:
        ImipError: there is no room for those that are needed.

    """
    text = _packed(manifest)
    if len(text) > LIMIT and needed:
        text = _packed(replace(manifest, rows=_of(needed, manifest.rows), intended=_of(needed, manifest.intended)))
    if len(text) > LIMIT:
        count = sum(map(len, manifest.rows.values()))
        raise ImipError(
            Problem(
                f"the manifest of {count} secrets does not fit into a secret of GitHub (48 KB)",
                "input sync-manifest-secret",
                "Share the targets out over several jobs with sync-shard, each with a manifest of its own.",
            )
        )
    return text


class _NewerError(ValueError):
    """The manifest's format is one that we do not know yet."""


def _of(needed: Collection[str], rows: _Rows) -> _Rows:
    return {scope: own for scope, own in rows.items() if scope in needed}


def _packed(manifest: Manifest) -> str:
    body = _body(manifest)
    plain = json.dumps({"v": FORMAT, "sum": _sum(body), **body, **_unsure(manifest, body)}, separators=(",", ":"))
    if len(plain) <= LIMIT:
        return plain
    packed = base64.b64encode(zlib.compress(plain.encode(), 9)).decode()
    return json.dumps({"v": FORMAT, "z": packed}, separators=(",", ":"))


def _body(manifest: Manifest) -> dict[str, Any]:
    """Return the rows as they are written: sources and sets once, times as differences."""
    tables = (manifest.rows, manifest.intended)
    used = {(row.mapping, row.version) for table in tables for rows in table.values() for row in rows.values()}
    sources = [[*source, list(manifest.sources[source])] for source in sorted(used) if source in manifest.sources]
    return {"at": manifest.saved, "sources": sources, **_table(manifest.rows, sources, surmised=False)}


def _unsure(manifest: Manifest, body: dict[str, Any]) -> dict[str, Any]:
    """Return what is unsure, as it is written beside the body; nothing where nothing is."""
    tables = {
        "surmised": _table(manifest.rows, body["sources"], surmised=True),
        "intended": _table(manifest.intended, body["sources"], surmised=False),
    }
    if not any(table["scopes"] for table in tables.values()):
        return {}
    return {"unsure": {"sum": _sum({**body, **tables}), **tables}}


def _table(table: _Rows, sources: Sequence[Sequence[Any]], *, surmised: bool) -> dict[str, Any]:
    """Return those rows of a table that are surmised, or those that are not."""
    number = {(mapping, version): (at, names) for at, (mapping, version, names) in enumerate(sources)}
    sets: dict[tuple[tuple[str | int, ...], ...], int] = {}
    scopes: dict[str, list[Any]] = {}
    for scope, rows in sorted(table.items()):
        known = []
        for name, row in sorted(rows.items()):
            at, names = number.get((row.mapping, row.version), (0, ()))
            if row.surmised is surmised and row.variable in names:
                repositories = (row.repositories,) if row.repositories else ()
                known.append((row.at, (name, at, names.index(row.variable), *repositories)))
        if known:
            start = min(at for at, _ in known)
            own = sets.setdefault(tuple(entry for _, entry in known), len(sets))
            scopes[scope] = [own, start, [at - start for at, _ in known]]
    return {"sets": [[list(entry) for entry in own] for own in sets], "scopes": scopes}


def _sum(body: dict[str, Any]) -> str:
    return sha256(json.dumps(body, separators=(",", ":"), sort_keys=True).encode()).hexdigest()[:16]


def _object(text: str) -> dict[str, Any]:
    content = json.loads(text)
    if not isinstance(content, dict) or not isinstance(content.get("v"), int):
        raise TypeError
    if content["v"] > FORMAT:
        raise _NewerError
    return content


def _unpacked(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content, unpacked if need be, whose sum is right."""
    if "z" in content:
        unpacker = zlib.decompressobj()
        content = _object(unpacker.decompress(base64.b64decode(content["z"], validate=True), _UNPACKED).decode())
    if not content.keys() <= {"v", "sum", *_BODY, "unsure"}:
        raise _NewerError
    body = {name: content[name] for name in _BODY}
    if content["v"] != FORMAT or content["sum"] != _sum(body):
        raise ValueError
    if "unsure" in content:
        tables = {name: content["unsure"][name] for name in _TABLES}
        if content["unsure"]["sum"] != _sum({**body, **tables}):
            raise ValueError
        body["unsure"] = tables
    return body


def _read(body: dict[str, Any]) -> Manifest:
    """Read the body, each part of which must be what it is to be."""
    sources = [
        (_text(mapping), _text(version), tuple(map(_text, names))) for mapping, version, names in body["sources"]
    ]
    known = {(mapping, version): names for mapping, version, names in sources}
    manifest = Manifest(_rows(body, sources), known, _number(body["at"]))
    if "unsure" in body:
        for scope, rows in _rows(body["unsure"]["surmised"], sources, surmised=True).items():
            manifest.rows.setdefault(scope, {}).update(rows)
        manifest.intended.update(_rows(body["unsure"]["intended"], sources))
    return manifest


def _rows(
    table: dict[str, Any], sources: Sequence[tuple[str, str, tuple[str, ...]]], *, surmised: bool = False
) -> _Rows:
    sets = [[_entry(entry, sources) for entry in own] for own in table["sets"]]
    rows: _Rows = {}
    for scope, (own, start, later) in table["scopes"].items():
        rows[scope] = {
            name: Row(mapping, variable, version, _number(start) + _number(seconds), repositories, surmised)
            for (name, mapping, variable, version, repositories), seconds in zip(sets[_number(own)], later, strict=True)
        }
    return rows


def _entry(
    entry: Sequence[object], sources: Sequence[tuple[str, str, tuple[str, ...]]]
) -> tuple[str, str, str, str, str]:
    name, source, variable, *repositories = entry
    mapping, version, names = sources[_number(source)]
    if name_fault(_text(name)) or len(repositories) > 1:
        raise ValueError
    return _text(name), mapping, names[_number(variable)], version, "".join(map(_text, repositories))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError
    return value
