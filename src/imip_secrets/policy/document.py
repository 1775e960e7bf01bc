"""What the documents are: plain data with a title, a command, and what a person must still know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Document(NamedTuple):
    """One thing to be set up at a store.

    Args:
        key: Its name in the JSON form, such as ``aws.trust``.
        title: What it is.
        body: The content: JSON data, or a text such as HCL.
        file: The file that the command reads it from, or "" where the command is all there is.
        command: How it is set up.
        notes: What a person must know, a sentence each.
        terraform: The same as a resource of Terraform, by type and name.

    """

    key: str
    title: str
    body: Any
    file: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
    terraform: Mapping[str, Mapping[str, Any]] = {}
