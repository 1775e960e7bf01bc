"""Documents for people: what it is, how it is set up, and the text to paste."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imip_secrets.policy.document import Document


def written(documents: Iterable[Document]) -> str:
    """Return the documents one after the other; comments start with ``#``."""
    return "\n".join(line for document in documents for line in _lines(document))


def as_json(documents: Iterable[Document]) -> dict[str, Any]:
    """Return the contents alone, by the documents' keys."""
    return {document.key: document.body for document in documents}


def _lines(document: Document) -> Iterator[str]:
    yield f"# {document.title}"
    for note in document.notes:
        yield f"# {note}"
    if document.file:
        yield f"# {document.command}    ({document.file}:)"
        body = document.body
        yield body.rstrip("\n") if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
    else:
        yield document.command
    yield ""
