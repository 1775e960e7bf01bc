from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

REPORT = """
import json, sys
from imip_secrets.stores.vault.connections import Connections
from imip_secrets.stores.vault.transport import Patience, Transport
from imip_secrets.deadline import Deadline
from imip_secrets.stores.vault.api import Api
adapter = Transport("http://127.0.0.1:1", Connections(None), Patience(Deadline(1), print))
"""


def told(code: str) -> Any:  # noqa: ANN401 - JSON
    """Run code in a Python of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "src"}
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_of_hvac_only_what_is_used_is_imported() -> None:
    code = f"{REPORT}before = set(sys.modules); Api(adapter); print(json.dumps(sorted(set(sys.modules) - before)))"
    assert not {name.partition(".")[0] for name in told(code)} & {"requests", "urllib3", "hvac", "charset_normalizer"}


def test_who_imports_hvac_afterwards_has_the_whole_of_it() -> None:
    code = f"{REPORT}Api(adapter); import hvac; print(json.dumps(hvac.Client(url='http://127.0.0.1:1').url))"
    assert told(code) == "http://127.0.0.1:1"


def test_a_program_that_has_hvac_keeps_it() -> None:
    code = (
        f"import hvac, hvac.api\n{REPORT}before = dict(sys.modules); api = Api(adapter)\n"
        "same = all(sys.modules.get(name) is module for name, module in before.items())\n"
        "print(json.dumps([same, isinstance(api.jwt, hvac.api.auth_methods.JWT)]))"
    )
    assert told(code) == [True, True]
