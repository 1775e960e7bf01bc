from __future__ import annotations

from typing import TYPE_CHECKING

from imip_secrets.stores.base import Target
from imip_secrets.stores.describing import vault

if TYPE_CHECKING:
    import pytest

    from imip_secrets.document import Json


class Reader:
    def __init__(self, data: dict[str, Json]) -> None:
        self._data = data

    def metadata(self, _namespace: str, _path: str) -> dict[str, Json]:
        return self._data


def test_a_version_that_is_no_number_is_not_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Json = {"created_time": "2026-01-02T00:00:00Z"}
    versions: Json = {"2": made, "1": {}, "\u00b2": {}, "9" * 5000: {}, "-3": {}, "x": {}}
    describer = object.__new__(vault.VaultDescriber)
    monkeypatch.setattr(describer, "_reader", Reader({"versions": versions}), raising=False)
    monkeypatch.setattr(describer, "_namespace_of", lambda _: "", raising=False)
    facts = describer.describe(Target("secret/a"))
    assert facts.changed is not None
    assert facts.changed.day == 2
