"""The servers of a benchmark of the sync, away from the process that measures: the stand-in for GitHub, and OpenBao.

``python -m bench.serve_sync JSON`` (a :class:`Setting`) prints where they are, as JSON. Each line of its standard input
is a question, answered by a line of JSON: ``counts`` (what GitHub was asked since the last such question), ``values``
(how many secrets there are, and whether all are right), ``manifest`` (what the sync keeps), ``forget`` (every secret).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench.sync_setting import HOME, MANIFEST, SECRET, Places, Setting, names, values
from stand_ins.github import GitHub
from stand_ins.vault import Vault


class Clock:
    """A clock that goes faster than ours, from now on."""

    def __init__(self, speed: float) -> None:
        """Begin now."""
        self._speed, self._began = speed, time.time()

    def __call__(self) -> float:
        """Return the seconds since 1970."""
        return self._began + (time.time() - self._began) * self._speed


def main(setting: Setting) -> None:
    """Serve until standard input ends."""
    with ExitStack() as stack:
        vault = stack.enter_context(Vault())
        vault.put(SECRET, values(setting.secrets))
        vault.policy("sync", {"secret/data/imip/*": ["read"], "secret/metadata/imip/*": ["read"]})
        # What the description says is the tests' business: here it would be half of the time.
        github = stack.enter_context(GitHub(check=False, time=Clock(setting.speed)))
        github.limits.enforced, github.limits.hourly = setting.enforced, setting.hourly
        github.delay = setting.delay
        for name in (HOME, *names(setting.repositories)):
            github.repository(name, topics=["imip"] if name != HOME else [])
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="imip-bench-"))
        socket = Path(folder, "github")
        stack.enter_context(github.listen(at=socket))
        places = Places(github.url, str(socket), github.token, vault.url, vault.token("sync"))
        print(json.dumps(asdict(places)), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(line.strip(), setting, github)), flush=True)


def answer(question: str, setting: Setting, github: GitHub) -> object:
    """Answer a question."""
    if question == "counts":
        counted = dict(github.counts()), github.limits.refused, sum(one.points for one in github.sent)
        github.forget()
        return counted
    if question == "manifest":
        return github.values(f"repo:{HOME}").get(MANIFEST, "")
    places = [github.vault(f"repo:{name}") for name in names(setting.repositories)]
    if question == "forget":
        for place in (*places, github.vault(f"repo:{HOME}")):
            place.secrets.clear()
        github.forget()
        return None
    wanted = values(setting.secrets)
    return sum(len(place.secrets) for place in places), all(place.values == wanted for place in places)


if __name__ == "__main__":
    main(Setting(**json.loads(sys.argv[1])))
