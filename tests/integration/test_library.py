"""The library in real applications, FastAPI's and Flask's, as docs/library.md shows them, on real servers."""

from __future__ import annotations

import hmac
import importlib
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from imip_secrets import ImipError, Secrets, load_secrets
from imip_secrets.loader import loading
from stand_ins.aws import REGION, Aws
from stand_ins.postgres import ROLE, Postgres
from stand_ins.postgres import programs as postgres_programs
from stand_ins.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PAGE = Path(__file__).parents[2] / "docs/library.md"
GUIDE = {
    "SECRET_KEY": "your-production-secret-key-here",
    "REFRESH_SECRET_KEY": "your-refresh-secret-key-here",
    "MONGO_URI": "mongodb+srv://user:pass@cluster.mongodb.net/imip",
    "OPENAI_API_KEY": "sk-production-key-here",
}
OLD = 421  # seconds: beyond the time to live and what is given out for want of better

pytestmark = pytest.mark.xdist_group("library")  # one set of servers


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with Aws() as running:
        yield running


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    with Vault() as running:
        yield running


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("AWS_", "VAULT_", "BAO_", "AZURE_", "KEY_VAULT", "SECRET_", "ENVIRONMENT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.aws, no ~/.vault-token
    monkeypatch.chdir(tmp_path)
    yield
    for secrets in list(loading._LOADED._by_key.values()):
        secrets.close()


def deployed(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def on_aws(aws: Aws, monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """Deploy as the guide's docker-compose.yml does."""
    deployed(monkeypatch, ENVIRONMENT="production", AWS_REGION=REGION, SECRET_NAME="imip/production", **more)
    deployed(monkeypatch, AWS_ENDPOINT_URL=aws.url, AWS_ACCESS_KEY_ID="machine", AWS_SECRET_ACCESS_KEY="machine")


def on_vault(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, ENVIRONMENT="production", VAULT_SECRET_PATH="imip/production")
    deployed(monkeypatch, VAULT_ADDR=vault.url, VAULT_TOKEN=vault.root_token)


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the modules of the page, each block by the path in its first line."""
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(# (app/\w+\.py)\n.*?)^```$", text, re.MULTILINE | re.DOTALL):
        path = tmp_path / block[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block[0], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[name]


def module(name: str) -> Any:  # noqa: ANN401 - a module of the page
    return importlib.import_module(name)


def put_forward(secrets: Secrets, seconds: float) -> None:
    """Let time pass for the secrets."""
    secrets._live.cache._clock = lambda: time.monotonic() + seconds


def test_the_guides_configuration_reads_from_aws(application: Path, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.reset()
    aws.put("imip/production", GUIDE)
    on_aws(aws, monkeypatch)
    config = module("app.config")
    assert {name: getattr(config, name) for name in ("SECRET_KEY", "MONGO_URI", "OPENAI_API_KEY")} == {
        name: value for name, value in GUIDE.items() if name != "REFRESH_SECRET_KEY"
    }
    assert dict(config.secrets) == GUIDE
    assert load_secrets() is config.secrets
    assert aws.reads() == ["imip/production"]
    assert application.is_dir()


def test_the_pages_fastapi_application_follows_a_rotation_and_an_outage(
    application: Path, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.reset()
    aws.put("imip/production", GUIDE)
    on_aws(aws, monkeypatch)
    app, secrets = module("app.main").app, module("app.config").secrets
    with TestClient(app) as client:
        assert client.get("/sign", params={"text": "x"}).json() == signature(GUIDE["SECRET_KEY"])
        aws.put("imip/production", GUIDE | {"SECRET_KEY": "rotated"})
        assert client.get("/sign", params={"text": "x"}).json() == signature(GUIDE["SECRET_KEY"])
        put_forward(secrets, 301)
        assert client.get("/sign", params={"text": "x"}).json() == signature("rotated")
        aws.reset()
        put_forward(secrets, 602)
        assert client.get("/sign", params={"text": "x"}).json() == signature("rotated")
        put_forward(secrets, 602 + OLD)
        answer = client.get("/sign", params={"text": "x"})
    assert (answer.status_code, answer.json()) == (503, {"detail": "the secrets cannot be read"})
    assert application.is_dir()


def signature(key: str) -> Mapping[str, str]:
    return {"signature": hmac.new(key.encode(), b"x", "sha256").hexdigest()}


def test_the_pages_flask_application_keeps_its_sessions_over_a_rotation(
    application: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.put("secret/imip/production", GUIDE)
    on_vault(vault, monkeypatch)
    app, secrets = module("app.site").app, module("app.config").secrets
    visitor, attacker = app.test_client(), app.test_client()
    assert visitor.get("/visits").text == "1"
    vault.put("secret/imip/production", GUIDE | {"SECRET_KEY": "rotated"})
    secrets.refresh()
    assert (app.secret_key, app.config["SECRET_KEY_FALLBACKS"]) == ("rotated", [GUIDE["SECRET_KEY"]])
    assert visitor.get("/visits").text == "2"
    attacker.set_cookie("session", "forged")
    assert attacker.get("/visits").text == "1"
    assert application.is_dir()


def test_what_vault_refuses_is_one_line_in_the_words_of_the_library(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_vault(vault, monkeypatch)
    deployed(monkeypatch, VAULT_SECRET_PATH="imip/staging")
    with pytest.raises(ImipError) as caught:
        load_secrets()
    assert str(caught.value).startswith("line 1, vault://secret/imip/staging: ")
    assert len(str(caught.value).splitlines()) == 1
    deployed(monkeypatch, VAULT_TOKEN="wrong")
    with pytest.raises(ImipError) as caught:
        load_secrets()
    assert "Allow it in a policy of the token of VAULT_TOKEN: path" in str(caught.value)
    assert str(caught.value).startswith("line 1, vault://secret/imip/staging: Vault denies reading")


# --- dynamic credentials ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres(vault: Vault) -> Iterator[Postgres]:
    if postgres_programs() is None:
        pytest.skip("there is no PostgreSQL here")
    with Postgres() as running:
        running.behind(vault)
        yield running
        # Vault's connections to it, for whose end it would wait.
        vault.do("DELETE", "sys/mounts/database")


def role(vault: Vault, **fields: str) -> None:
    """Give the role of the database other times."""
    path = f"database/roles/{ROLE}"
    vault.do("POST", path, {**vault.do("GET", path)["data"], **fields})


def wait_for(condition: Callable[[], bool], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_dynamic_credentials_live_as_long_as_the_application(
    vault: Vault, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    role(vault, default_ttl="10s", max_ttl="1h")
    on_vault(vault, monkeypatch)
    with load_secrets(f"DB_* = vault://database/creds/{ROLE}", ttl=1) as secrets:
        user, password = secrets["DB_USERNAME"], secrets["DB_PASSWORD"]
        end = time.monotonic() + 13
        while time.monotonic() < end:
            # Longer than the lease, and than the time to live: the same credentials.
            assert (secrets["DB_USERNAME"], secrets["DB_PASSWORD"]) == (user, password)
            assert postgres.lets_in(user, password)
            time.sleep(0.3)
        assert postgres.users() == {user}
    wait_for(lambda: not postgres.users())


def test_credentials_that_cannot_live_longer_are_replaced_before_they_end(
    vault: Vault, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    role(vault, default_ttl="16s", max_ttl="16s")
    on_vault(vault, monkeypatch)
    told: list[frozenset[str]] = []
    with load_secrets(f"DB_* = vault://database/creds/{ROLE}", on_change=told.append) as secrets:
        first = secrets["DB_USERNAME"]
        while not told:
            user, password = secrets["DB_USERNAME"], secrets["DB_PASSWORD"]
            # What is replaced just now may be half of the old and half of the new.
            assert postgres.lets_in(user, password) or told
            time.sleep(0.1)
        assert told == [frozenset({"DB_USERNAME", "DB_PASSWORD"})]
        assert secrets["DB_USERNAME"] != first
        assert postgres.lets_in(secrets["DB_USERNAME"], secrets["DB_PASSWORD"])
    wait_for(lambda: not postgres.users())


def test_credentials_that_no_policy_prolongs_are_replaced_and_the_log_says_which_would(
    vault: Vault, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    role(vault, default_ttl="9s", max_ttl="1h")
    vault.policy("reader", {f"database/creds/{ROLE}": ["read"]})
    on_vault(vault, monkeypatch)
    deployed(monkeypatch, VAULT_TOKEN=vault.token("reader", no_default_policy=True))
    told: list[frozenset[str]] = []
    with load_secrets(f"DB_* = vault://database/creds/{ROLE}", on_change=told.append) as secrets:
        wait_for(lambda: bool(told))
        assert postgres.lets_in(secrets["DB_USERNAME"], secrets["DB_PASSWORD"])
        password = secrets["DB_PASSWORD"]
    vault.do("POST", "sys/leases/revoke-prefix/database/creds")
    assert 'A policy must have path "sys/leases/renew"' in caplog.text
    assert password not in caplog.text
