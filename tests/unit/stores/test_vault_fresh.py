"""A token that we have just made, and a performance standby that has not heard of it yet."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from imip_secrets.errors import StoreError
from imip_secrets.stores.base import Target
from imip_secrets.stores.vault import transport as vault_transport
from stand_ins.faults import json_answer, redirect
from stand_ins.vault_script import Caller, NoTime, Quick, ScriptedVault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imip_secrets.stores.vault import VaultStore
    from stand_ins.faults import Request, Step

DENIED = json_answer({"errors": ["1 error occurred:\n\t* permission denied\n\n"]}, 403)


@pytest.fixture(autouse=True)
def new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a token stay new, however slow the machine is."""
    monkeypatch.setattr(vault_transport, "FRESH_SECONDS", 100.0)


def is_read(request: Request) -> bool:
    return request.path == "/v1/secret/data/a"


@contextmanager
def opened(
    *steps: Step, deadline: Quick | None = None, **settings: str
) -> Iterator[tuple[VaultStore, ScriptedVault, Caller]]:
    """A store that is logged in; the reads of secret/a get these answers first."""
    with ScriptedVault({"secret/a": '{"K": "v"}', "secret/b": '{"K": "w"}'}) as server:
        server.script(*steps, when=is_read)
        given = settings or {"vault_role": "r"}
        caller = Caller(
            {"vault-addr": server.url, **{name.replace("_", "-"): text for name, text in given.items()}},
            deadline=deadline,
        )
        store = caller.store()
        store.login()
        yield store, server, caller
        store.close()


def waits(caller: Caller) -> list[float]:
    assert isinstance(caller.deadline, Quick)
    return caller.deadline.waits


def denial(store: VaultStore) -> str:
    with pytest.raises(StoreError) as caught:
        store.fetch(Target("secret/a"))
    return str(caught.value)


def reads(server: ScriptedVault) -> int:
    return sum(map(is_read, server.requests))


def test_a_denial_right_after_the_login_is_asked_once_more() -> None:
    with opened(DENIED) as (store, server, caller):
        assert store.fetch(Target("secret/a")).value.reveal() == '{"K":"v"}'
        assert reads(server) == 2
        (wait,) = waits(caller)
        assert 0.3 <= wait <= 0.7
        assert caller.notices == []


def test_each_request_is_asked_again_once_and_another_has_its_own() -> None:
    with opened(DENIED) as (store, server, _):
        server.script(DENIED, when=lambda request: request.path == "/v1/secret/data/b")
        for path in ("secret/a", "secret/b"):
            assert store.fetch(Target(path)).is_data


def test_a_denial_that_stays_says_the_same_and_the_next_cost_no_wait() -> None:
    with opened(*[DENIED] * 9) as (store, server, caller):
        first = denial(store)
        assert reads(server) == 2
        assert denial(store) == first
        assert reads(server) == 3
        assert len(waits(caller)) == 1
        assert "Vault denies reading secret/a" in first
        assert 'path "secret/data/a" { capabilities = ["read"] }' in first


@pytest.mark.parametrize("after", ["reset", redirect("https://elsewhere.example/")])
def test_what_goes_wrong_with_the_second_try_does_not_hide_the_denial(after: Step) -> None:
    with opened(DENIED, *[after] * 20) as (store, _, _):
        assert "Vault denies reading secret/a" in denial(store)


def test_a_token_that_is_not_new_is_denied_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(*[DENIED] * 9, vault_token="hvs.older", vault_auth_method="token") as (store, server, _):
        denial(store)
        assert reads(server) == 1
    monkeypatch.setattr(vault_transport, "FRESH_SECONDS", 0.0)
    with opened(*[DENIED] * 9) as (store, server, caller):
        denial(store)
        assert reads(server) == 1
        assert waits(caller) == []


def test_without_time_for_another_try_the_denial_is_said_at_once() -> None:
    with opened(*[DENIED] * 9, deadline=NoTime()) as (store, server, _):
        assert "Vault denies reading secret/a" in denial(store)
        assert reads(server) == 1


def test_what_makes_credentials_is_asked_once() -> None:
    with opened() as (store, server, _):
        server.paths["database/creds/app"] = DENIED
        with pytest.raises(StoreError, match="Vault denies reading database/creds/app"):
            store.fetch(Target("database/creds/app"))
        assert server.asked().count("database/creds/app") == 1
