"""The ``.env`` file of a developer's machine, as python-dotenv reads it; never elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values

from imip_secrets import ImipError, load_secrets
from imip_secrets.errors import UsageError
from imip_secrets.loader import loading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = """\
# of the guide
SECRET_KEY=your-secret-key
REFRESH_SECRET_KEY='your refresh # key'
MONGO_URI="mongodb://user:pass@localhost:27017/imip"
OPENAI_API_KEY=sk-${HOME}
PATH=/nothing
"""


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SECRET_NAME", "VAULT_SECRET_PATH", "AZURE_KEY_VAULT_URL", "KEY_VAULT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ENVIRONMENT", "development")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.chdir(tmp_path)
    yield
    for secrets in list(loading._LOADED._by_key.values()):
        secrets.close()


def test_development_reads_the_file_as_python_dotenv_does(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(FILE.replace("PATH=/nothing\n", ""), encoding="utf-8")
    assert dict(load_secrets()) == dotenv_values(tmp_path / ".env", interpolate=False)


@pytest.mark.parametrize("name", ["a b#c?d*e%f.env", "ü.env", "-x.env"])
def test_the_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SECRET_KEY=x\n", encoding="utf-8")
    assert dict(load_secrets(env_file=name)) == dict(load_secrets(env_file=tmp_path / name)) == {"SECRET_KEY": "x"}


def test_a_change_of_the_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY=x\n", encoding="utf-8")
    secrets = load_secrets()
    (tmp_path / ".env").write_text("SECRET_KEY=y\n", encoding="utf-8")
    secrets.refresh()
    assert secrets["SECRET_KEY"] == "y"


def test_no_file_is_one_line_with_what_to_do() -> None:
    with pytest.raises(ImipError) as caught:
        load_secrets()
    assert len(str(caught.value).splitlines()) == 1
    assert ".env" in str(caught.value)


@pytest.mark.parametrize("environment", ["production", "staging", "", "qa"])
def test_elsewhere_a_file_is_not_read_even_by_reference(
    tmp_path: Path, environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)
    (tmp_path / ".env").write_text("SECRET_KEY=x\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"a .env file is for development alone, and this is none"):
        load_secrets("env-file://.env")
