"""The one question of GraphQL that `gh` asks about secrets: which ids these repositories have.

``gh secret set --repos a,b`` asks for ``repository(owner:, name:) { databaseId }`` under
an alias for each. No other query is understood.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from stand_ins.faults import Answer, json_answer

if TYPE_CHECKING:
    from stand_ins.faults import Request
    from stand_ins.github.state import State

_ALIAS = re.compile(r"(\w+):\s*repository\(\s*owner:\s*\$?([\w\"-]+),?\s*name:\s*\$?([\w\".-]+)\s*\)")


def respond(request: Request, state: State) -> Answer:
    """Answer the question, or say that it is not understood."""
    asked = json.loads(request.body or b"{}")
    variables = asked.get("variables") or {}
    data: dict[str, object] = {}
    for alias, owner, name in _ALIAS.findall(asked.get("query", "")):
        full_name = "/".join(str(variables.get(part, part.strip('"'))) for part in (owner, name))
        found = state.repositories.get(full_name.lower())
        data[alias] = {"databaseId": found.id} if found else None
    if not data:
        return json_answer({"errors": [{"message": "the stand-in does not understand this query"}]})
    return json_answer({"data": data})
