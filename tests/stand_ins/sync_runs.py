"""Runs of the sync over a store and a GitHub in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from imip_secrets import request
from imip_secrets.deadline import Deadline
from imip_secrets.identity import IdToken
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Context, Found
from imip_secrets.sync import inputs
from imip_secrets.sync.base import Kind, Scope
from imip_secrets.sync.mirror import Hands, Mirror, Mirrored
from stand_ins.github_memory import START, GitHubInMemory
from stand_ins.memory import Versioned, registered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imip_secrets.sync.apply import Outcome
    from imip_secrets.sync.base import Access, GitHub
    from imip_secrets.sync.plan import Plan

MANIFEST = "IMIP_SYNC_MANIFEST"
HOME = Scope(Kind.REPOSITORY, "o", "home")
OLD = START - timedelta(days=30)


def secret(value: str, version: str = "", changed: datetime | None = OLD) -> Found:
    """Return a secret whose version is as another value's is not."""
    return Found(Secret(value), version=version or f"v-{value}", changed=changed)


@dataclass
class World:
    """A store, a GitHub, and the workflow between them."""

    github: GitHubInMemory = field(default_factory=lambda: GitHubInMemory("o/a", "o/b", "o/home"))
    store: Versioned = field(default_factory=Versioned)
    lines: str = "memory://imip/one\nmemory://imip/two"
    to: str = "repo:o/a"
    settings: dict[str, str] = field(default_factory=dict)
    remembers: bool = False
    said: list[str] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    hidden: list[Secret] = field(default_factory=list)
    agrees: bool = True

    def __post_init__(self) -> None:
        if not self.store.secrets:
            self.store.secrets.update({"imip/one": secret("1"), "imip/two": secret("2")})

    def inputs(self) -> dict[str, str]:
        values = {
            "mode": "sync",
            "secrets": self.lines,
            "sync-to": self.to,
            "github-token": "ghp_token",
            **self.settings,
        }
        if self.remembers:
            held = self.github.held(HOME).get(MANIFEST)
            values |= {"sync-manifest-secret": MANIFEST, "sync-manifest": held.value if held else ""}
        return values

    def run(self, *, home: str = "o/home", seconds: float = 30.0, **settings: str) -> Mirrored:
        """Run once, an hour after the last time."""
        self.github.later()
        self.github.calls.clear()
        self.store.calls.clear()
        self.said.clear()
        given = self.inputs() | {name.replace("_", "-"): text for name, text in settings.items()}
        with registered(self.store):
            wanted = request.read(given)
            asked = inputs.read(wanted.settings, {"GITHUB_REPOSITORY": home}, is_enterprise_server=False)
            context = Context(
                wanted.settings,
                lambda _: IdToken(Secret("token"), {}),
                lambda _: None,
                self.said.append,
                Deadline(seconds),
            )
            hands = Hands(self.open, self.said.append, self.hidden.extend, self._agree)
            return Mirror(wanted, asked, context, hands).run()

    def open(self, access: Access) -> GitHub:
        """Make the client."""
        return self.github.open(access)

    def _agree(self, plan: Plan) -> bool:
        self.plans.append(plan)
        return self.agrees

    def writes(self) -> list[str]:
        """Return what was written in the last run, the manifest apart."""
        return [
            call
            for call in self.github.calls
            if call.partition(" ")[0] in {"put", "delete", "set_selected"} and MANIFEST not in call
        ]


def outcomes(mirrored: Mirrored) -> dict[str, Outcome]:
    """Return what became of each secret."""
    assert mirrored.results is not None
    return {f"{scope.title} {name}": result.outcome for (scope, name), result in mirrored.results.by_secret.items()}


def problems(mirrored: Mirrored) -> Sequence[str]:
    """Return everything that failed."""
    from imip_secrets.sync import report  # noqa: PLC0415 - the one helper that needs it

    return [str(problem) for problem in report.problems(mirrored)]
