"""What the core asks of GitHub, in requests: as few as there can be."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from imip_secrets.errors import ImipError, MissingError, StoreError
from imip_secrets.foreign import tame
from imip_secrets.sync import addresses
from imip_secrets.sync.api import Answer, Api
from imip_secrets.sync.base import App, Existing, Kind, RepositoryFacts, Visibility, Written
from imip_secrets.sync.credentials import App as GitHubApp
from imip_secrets.sync.credentials import AppSession, TokenSession, revoke_all
from imip_secrets.sync.faults import Ask, moved, no_environment, refusal
from imip_secrets.sync.pacing import Ledger, Pacer
from imip_secrets.sync.sealing import Key, KeyRing, read_key
from imip_secrets.sync.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imip_secrets.sync.base import Access, Put, Scope, Usage
    from imip_secrets.sync.credentials import Session
    from imip_secrets.sync.pacing import Limits

_CREATED, _UPDATED, _NOT_FOUND, _UNPROCESSABLE = 201, 204, 404, 422
# How often a listing is read that somebody changes meanwhile.
_READINGS = 3
_ODD = "Check github-api-url, and look at https://www.githubstatus.com."


class Client:
    """GitHub (:class:`imip_secrets.sync.base.GitHub`).

    Args:
        access: What it works with.
        limits: The rate limits.
        always: Whether there are limits even where answers tell of none.

    """

    def __init__(self, access: Access, limits: Limits, *, always: bool) -> None:
        """Prepare without network."""
        self._access = access
        self._transport = Transport(access.api_url, access.ca_certificate, limits.concurrent)
        self._pacer = Pacer(Ledger(limits, always=always), access.deadline, access.notice)
        self._api = Api(access.api_url, self._transport, self._pacer, access.deadline)
        self._keys: dict[str, KeyRing] = {}
        self._token = TokenSession(access.token) if access.token else None
        self._app = None if self._token else GitHubApp(self._api, access)
        self._sessions: dict[str, AppSession] = {}

    def login(self) -> str:
        """Get a token for each owner, if there is an App; a token that was given is checked by its first use."""
        if self._app is None:
            return "the token of the input github-token"
        said = []
        try:
            for reach in self._access.reaches:
                session = AppSession(self._app, reach)
                self._sessions[reach.owner.lower()] = session
                said.append(session.login())
        except BaseException:
            self.close()
            raise
        return "; ".join(said)

    def look_up(self, owner: str, repo: str) -> RepositoryFacts:
        """Read one repository: one request."""
        ask = Ask(f"reading {owner}/{repo}", owner, repo)
        facts = _facts(self._read(ask, addresses.repository(owner, repo)).data)
        if facts is None:
            raise _unusable(ask)
        if (facts.owner.lower(), facts.name.lower()) != (owner.lower(), repo.lower()):
            raise moved(ask)
        return facts

    def repositories(self, owner: str, *, properties: bool) -> Sequence[RepositoryFacts]:
        """Give every repository of an owner that we may see; custom properties only when asked."""
        ask = Ask(f"listing the repositories of {owner}", owner)
        found = {facts.id: facts for facts in self._repositories(owner, ask) if facts.owner.lower() == owner.lower()}
        if properties:
            for number, values in self._properties(owner):
                if number in found:
                    found[number] = replace(found[number], properties=values)
        return list(found.values())

    def _repositories(self, owner: str, ask: Ask) -> Iterator[RepositoryFacts]:
        """List those of the App's installation; with a token those of the organisation, or of the user."""
        path = "/installation/repositories" if self._app else f"/orgs/{quote(owner, safe='')}/repos"
        for number, answer in enumerate(self._api.pages(self._session(owner), path)):
            if answer.status == _NOT_FOUND and not number and not self._app:
                yield from self._of_user(owner, ask)
                return
            yield from self._page_of_repositories(answer, owner, ask)

    def _of_user(self, owner: str, ask: Ask) -> Iterator[RepositoryFacts]:
        for answer in self._api.pages(self._session(owner), "/user/repos"):
            yield from self._page_of_repositories(answer, owner, ask)

    def _page_of_repositories(self, answer: Answer, owner: str, ask: Ask) -> Iterator[RepositoryFacts]:
        if answer.refused:
            raise refusal(answer, ask, self._session(owner).who)
        data = answer.data.get("repositories") if isinstance(answer.data, dict) else answer.data
        if not isinstance(data, list):
            raise _unusable(ask)
        for item in data:
            facts = _facts(item)
            if facts is None:
                raise _unusable(ask)
            yield facts

    def _properties(self, owner: str) -> Iterator[tuple[int, Mapping[str, tuple[str, ...]]]]:
        ask = Ask(f"reading the custom properties of {owner}", owner, permission="organization_custom_properties")
        for answer in self._pages(ask, f"/orgs/{quote(owner, safe='')}/properties/values"):
            if not isinstance(answer.data, list):
                raise _unusable(ask)
            for item in answer.data:
                with suppress(KeyError, TypeError, AttributeError):
                    pairs = ((pair["property_name"], pair["value"]) for pair in item["properties"])
                    yield item["repository_id"], {name: _values(value) for name, value in pairs}

    def listing(self, scope: Scope) -> Mapping[str, Existing]:
        """Give every secret of a scope by its name in capitals; all of them, or an error."""
        ask = Ask.about(scope, "listing")
        for _ in range(_READINGS):
            found: dict[str, Existing] = {}
            totals = set()
            for answer in self._pages(ask, addresses.secrets(scope)):
                for item in _items(answer, "secrets", ask):
                    existing = _existing(item, ask)
                    found[existing.name] = existing
                totals.add(_whole(answer.data, "total_count", ask))
            # Another number on another page: what was deleted meanwhile has moved the rest of the list.
            if totals == {len(found)}:
                return found
        counted = " or ".join(map(str, sorted(totals)))
        what = f"the listing of {tame(scope.title, 200)} is not whole: GitHub counts {counted} and shows {len(found)}"
        raise StoreError(what, "Somebody changes it at this moment: run again.")

    def selected(self, scope: Scope, name: str) -> frozenset[int]:
        """Give the repositories that see an organisation's secret."""
        ask = Ask.about(scope, "listing the repositories of", name)
        pages = self._pages(ask, addresses.selected(scope, name))
        return frozenset(_whole(item, "id", ask) for answer in pages for item in _items(answer, "repositories", ask))

    def clock(self) -> float | None:
        """Say what time it is by GitHub's clock."""
        return self._api.clock()

    def put(self, put: Put) -> Written:
        """Seal and write one secret."""
        ask = Ask.about(put.scope, "writing", put.name)
        ring = self._ring(put.scope)
        where = addresses.public_key(put.scope)
        key = ring.get(where)
        answer = self._put(put, key)
        if _is_about_the_key(answer):
            # It was changed after we read it: once more with the new one.
            answer = self._put(put, ring.get(where, instead_of=key))
        if answer.status not in {_CREATED, _UPDATED}:
            raise self._refusal(answer, ask)
        return Written(answer.status == _CREATED, answer.date)

    def _put(self, put: Put, key: Key) -> Answer:
        body = key.seal(put.value)
        if put.visibility is not None:
            body["visibility"] = put.visibility.value
        if put.selected is not None:
            ids = sorted(put.selected)
            # Dependabot wants texts here, and the others numbers.
            body["selected_repository_ids"] = [str(each) for each in ids] if put.scope.app is App.DEPENDABOT else ids
        where = addresses.secret(put.scope, put.name)
        return self._api.send(self._session(put.scope.owner), "PUT", where, body, until=put.until)

    def set_selected(self, scope: Scope, name: str, repositories: frozenset[int]) -> None:
        """Change the repositories that see an organisation's secret, and not its value."""
        body = {"selected_repository_ids": sorted(repositories)}
        answer = self._api.send(self._session(scope.owner), "PUT", addresses.selected(scope, name), body)
        self._check(answer, Ask.about(scope, "changing the repositories of", name))

    def delete(self, scope: Scope, name: str) -> bool:
        """Delete one secret; return False where it was not there."""
        answer = self._api.send(self._session(scope.owner), "DELETE", addresses.secret(scope, name))
        if answer.status == _NOT_FOUND:
            # The listing showed it. When the first try's answer was lost, it was this that deleted it.
            return answer.tries > 1
        self._check(answer, Ask.about(scope, "deleting", name))
        return True

    def estimate(self, requests: int, points: int) -> float:
        """Say how many seconds so many further requests of so many points take within the rate limits."""
        return self._pacer.estimate(requests, points)

    def used(self) -> Usage:
        """Say what was asked of GitHub so far."""
        return self._pacer.used()

    def close(self) -> None:
        """Revoke the tokens that were made; never raises."""
        revoke_all(self._sessions.values())
        self._transport.close()

    def _session(self, owner: str) -> Session:
        if self._token:
            return self._token
        session = self._sessions.get(owner.lower())
        if session is None:
            what = f"nobody is logged in for {owner}"
            raise StoreError(what, "Please report this line: it holds no value.")
        return session

    def _ring(self, scope: Scope) -> KeyRing:
        """Return the keys; what fetches one knows which scope it is for."""
        where = addresses.public_key(scope)

        def fetch(address: str) -> Key:
            return read_key(self._read(Ask.about(scope, "reading the public key of"), address).data)

        return self._keys.setdefault(where, KeyRing(fetch))

    def _read(self, ask: Ask, path: str) -> Answer:
        answer = self._api.get(self._session(ask.owner), path)
        self._check(answer, ask)
        return answer

    def _pages(self, ask: Ask, path: str) -> Iterator[Answer]:
        for answer in self._api.pages(self._session(ask.owner), path):
            self._check(answer, ask)
            yield answer

    def _check(self, answer: Answer, ask: Ask) -> None:
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - what HTTP calls a success
            raise self._refusal(answer, ask)

    def _refusal(self, answer: Answer, ask: Ask) -> StoreError:
        """Make the error; of an environment's 404 find out whether there is no such environment."""
        who = self._session(ask.owner).who
        scope = ask.scope
        if answer.status == _NOT_FOUND and scope is not None and scope.kind is Kind.ENVIRONMENT:
            with suppress(ImipError):
                known = self._environments(scope)
                if scope.environment.lower() not in map(str.lower, known):
                    return MissingError(*no_environment(ask, known))
        return refusal(answer, ask, who)

    def _environments(self, scope: Scope) -> list[str]:
        ask = Ask(f"listing the environments of {scope.owner}/{scope.repo}", scope.owner, scope.repo)
        names = []
        for answer in self._api.pages(self._session(scope.owner), addresses.environments(scope.owner, scope.repo)):
            if answer.refused:
                raise refusal(answer, ask, self._session(scope.owner).who)
            names += [str(item.get("name", "")) for item in _items(answer, "environments", ask)]
        return names


def _is_about_the_key(answer: Answer) -> bool:
    """Tell whether GitHub could not open what it was sent."""
    said = answer.message.lower()
    return answer.status == _UNPROCESSABLE and ("encrypt" in said or "key_id" in said or "key id" in said)


def _facts(data: object) -> RepositoryFacts | None:
    """Read what GitHub tells of a repository; None when it is none."""
    known = cast("Mapping[str, Any]", data) if isinstance(data, dict) else {}
    owner, _, name = str(known.get("full_name", "")).partition("/")
    number = known.get("id")
    if not isinstance(number, int) or not owner or not name:
        return None
    topics = known.get("topics")
    visibility = known.get("visibility") or ("private" if known.get("private", True) else "public")
    return RepositoryFacts(
        number,
        owner,
        name,
        archived=bool(known.get("archived")),
        fork=bool(known.get("fork")),
        visibility=str(visibility),
        topics=frozenset(str(topic).lower() for topic in topics) if isinstance(topics, list) else frozenset(),
    )


def _items(answer: Answer, name: str, ask: Ask) -> list[Mapping[str, Any]]:
    """Return the items of a page."""
    items = answer.data.get(name) if isinstance(answer.data, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _unusable(ask)
    return items


def _whole(item: Mapping[str, Any], name: str, ask: Ask) -> int:
    number = item.get(name)
    if not isinstance(number, int):
        raise _unusable(ask)
    return number


def _existing(item: Mapping[str, Any], ask: Ask) -> Existing:
    """Read one secret of a listing."""
    name, visibility = item.get("name"), item.get("visibility")
    if not isinstance(name, str) or not name:
        raise _unusable(ask)
    try:
        seen = Visibility(visibility) if visibility else None
    except ValueError:
        # A visibility that we do not know must not be taken for a narrower one.
        raise _unusable(ask) from None
    return Existing(name.upper(), _time(item.get("created_at")), _time(item.get("updated_at")), seen)


def _time(text: object) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) else None
    return None


def _values(value: object) -> tuple[str, ...]:
    """Return the values of a custom property, which may have several or none."""
    if isinstance(value, list):
        return tuple(map(str, value))
    return () if value is None else (str(value),)


def _unusable(ask: Ask) -> StoreError:
    return StoreError(f"GitHub's answer to {ask.what} cannot be used: it is not of the form that it documents", _ODD)
