from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.settings import BY_NAME, INPUTS, Settings, from_environment

CANARY = "hunter2-canary"
NUMBERS = [item.name for item in INPUTS if item.kind == "number"]
FLAGS = [item.name for item in INPUTS if item.kind == "flag"]
CHOICES = [item.name for item in INPUTS if item.kind == "choice"]
ADDRESSES = [item.name for item in INPUTS if item.kind == "address"]
SECRETS = [item.name for item in INPUTS if item.kind == "secret"]


def fault(name: str, text: str) -> str:
    """Return the one problem that a setting has with a text, or "" when it has none."""
    problems = list(Settings({name: text}).problems())
    assert len(problems) <= 1
    for problem in problems:
        assert problem.where == f"input {name}"
        assert problem.remedy
        assert len(str(problem)) < 400
    return str(problems[0]) if problems else ""


def test_the_table_is_sound() -> None:
    assert len(BY_NAME) == len(INPUTS)
    assert list(Settings({item.name: item.default for item in INPUTS}).problems()) == []
    for item in INPUTS:
        assert item.name == item.name.lower().replace("_", "-")
        assert item.help.endswith(".")
        assert bool(item.choices) == (item.kind == "choice")
        assert item.kind not in {"flag", "choice", "number"} or item.default
        assert item.kind != "secret" or not item.default


def test_nothing_given_is_no_problem_and_gives_the_defaults() -> None:
    settings = Settings()
    assert list(settings.problems()) == []
    assert settings["mode"] == "export"
    assert settings.flag("export-env")
    assert not settings.flag("overwrite-env")
    assert settings.number("timeout-seconds") == 120
    assert settings.secret("vault-token") is None
    assert not any(settings.given(item.name) for item in INPUTS)


def test_an_unknown_name_is_a_mistake_of_the_program() -> None:
    with pytest.raises(KeyError):
        Settings({"no-such-input": ""})
    with pytest.raises(KeyError):
        Settings()["no-such-input"]
    with pytest.raises(KeyError):
        Settings().secret("no-such-input")


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_white_space_alone_is_the_default(text: str) -> None:
    for item in INPUTS:
        settings = Settings({item.name: text})
        assert list(settings.problems()) == []
        assert not settings.given(item.name)
        assert repr(settings) == "Settings()"
        if item.kind == "secret":
            assert settings.secret(item.name) is None
        else:
            assert settings[item.name] == item.default


def test_white_space_round_a_setting_does_not_count() -> None:
    settings = Settings({"timeout-seconds": " 30\n", "mode": " doctor ", "export-env": "\tfalse"})
    assert list(settings.problems()) == []
    assert (settings.number("timeout-seconds"), settings["mode"], settings.flag("export-env")) == (30, "doctor", False)


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("TRUE", True), ("True", True), ("false", False), ("False", False)]
)
def test_a_flag_is_true_or_false_in_any_case(name: str, text: str, value: bool) -> None:  # noqa: FBT001  # a table of cases
    assert fault(name, text) == ""
    assert Settings({name: text}).flag(name) is value


@pytest.mark.parametrize(
    "text", ["yes", "1", "on", "tru", "true false", "\uff54rue", "x" * 9999, "\u202etrue", "::error::"]
)
def test_any_other_flag_is_refused(text: str) -> None:
    for name in FLAGS:
        shown = fault(name, text)
        assert "neither true nor false" in shown
        assert "::" not in shown
        assert "\u202e" not in shown


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_is_one_of_its_words(name: str) -> None:
    for word in BY_NAME[name].choices:
        assert fault(name, word) == ""
    for text in ("other", BY_NAME[name].choices[0].upper(), ", ".join(BY_NAME[name].choices)):
        assert f"is not one of {', '.join(BY_NAME[name].choices)}" in fault(name, text)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(("text", "value"), [("1", 1), ("007", 7), ("900", 900), ("1000000", 1_000_000)])
def test_a_number_is_whole_and_above_nothing(name: str, text: str, value: int) -> None:
    assert fault(name, text) == ""
    assert Settings({name: text}).number(name) == value


@pytest.mark.parametrize(
    "text",
    [
        *("-1", "+1", "1.5", "1e3", "1_000", "ten", "1000001", "9999999", "99999999", "0000000001999999", "12 0"),
        *("0x10", "²", "٣", "\uff11", "1²", "0" * 9 + "1" + "9" * 5000, "9" * 5000, "\ud800", "1s"),
    ],
)
def test_any_other_number_is_refused_and_not_a_crash(text: str) -> None:
    for name in NUMBERS:
        assert f"no whole number from {BY_NAME[name].least} to 1000000" in fault(name, text)


@pytest.mark.parametrize("name", NUMBERS)
def test_nought_is_a_number_where_it_means_something(name: str) -> None:
    means_not_at_all = name in {"audit-days", "sync-max-deletions"}
    assert fault(name, "0") == ("" if means_not_at_all else fault(name, "-1").replace("-1", "0"))


@given(st.text() | st.from_regex(r"[0-9_+\-. ]{0,12}", fullmatch=True))
def test_a_number_that_is_accepted_can_be_read(text: str) -> None:
    settings = Settings({"timeout-seconds": text})
    if not list(settings.problems()):
        assert 0 < settings.number("timeout-seconds") <= 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "https://vault.example.com:8200",
        "https://vault.example.com",
        "https://vault.example.com/path/",
        "HTTPS://Vault.Example.com",
        "https://10.0.0.1:8200",
        "https://[2001:db8::1]:8200",
        "http://127.0.0.1:8200",
        "http://localhost:8200",
        "http://LOCALHOST",
        "http://[::1]:8200",
    ],
)
def test_an_address_is_https_or_http_to_loopback(text: str) -> None:
    for name in ADDRESSES:
        assert fault(name, text) == ""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("vault.example.com", "no https address"),
        ("vault.example.com:8200", "no https address"),
        ("ftp://vault.example.com", "no https address"),
        ("file:///etc/passwd", "no https address"),
        ("https://", "no https address"),
        ("https:vault.example.com", "no https address"),
        ("//vault.example.com", "no https address"),
        ("https://:8200", "no https address"),
        ("javascript:alert(1)", "no https address"),
        ("https://[::1", "no address"),
        ("https://host:99999", "no address"),
        ("https://host:port", "no address"),
        ("https://\u2100.example.com", "no address"),
        ("https://user@host", "no user"),
        ("https://@host", "no user"),
        (f"https://user:{CANARY}@host", "no user"),
        (f"https://user:{CANARY}/x@host", "no address"),
        (f"user:{CANARY}@host", "no https address"),
        ("https://host/?a=b", "no query"),
        ("https://host/?", "no query"),
        ("https://host/#a", "no query"),
        ("https://host#", "no query"),
        ("https://ho st", "white space"),
        ("https://ho\tst", "white space"),
        ("https://host\n.example.com", "white space"),
        ("https://host\u202e.com", "white space"),
        ("https://good.example\\.evil.example", "backslash"),
        ("https://good.example\\@evil.example", "no user"),
        ("http://vault.example.com:8200", "plain http to vault.example.com"),
        ("http://127.0.0.1.evil.example", "plain http to"),
        ("http://localhost.evil.example", "plain http to"),
        ("http://0.0.0.0", "plain http to"),
        ("http://" + "x" * 9999, "plain http to"),
    ],
)
def test_any_other_address_is_refused_without_its_password(text: str, what: str) -> None:
    for name in ADDRESSES:
        shown = fault(name, text)
        assert what in shown
        assert CANARY not in shown


@given(st.text() | st.text().map("https://{}".format) | st.text().map("http://{}".format))
def test_no_address_is_a_crash(text: str) -> None:
    fault("vault-addr", text)


def test_every_wrong_setting_is_reported_at_once() -> None:
    settings = Settings({"mode": "x", "export-env": "x", "mask-floor": "x", "vault-addr": "x", "aws-region": "x"})
    assert [problem.where for problem in settings.problems()] == [
        "input mode",
        "input export-env",
        "input mask-floor",
        "input vault-addr",
    ]


def test_a_secret_setting_is_had_as_a_secret_only() -> None:
    settings = Settings(dict.fromkeys(SECRETS, f" {CANARY}\n"))
    for name in SECRETS:
        secret = settings.secret(name)
        assert secret is not None
        assert secret.reveal() == CANARY
        assert settings.given(name)
        with pytest.raises(TypeError, match="is a secret") as caught:
            settings[name]
        assert CANARY not in str(caught.value)
    assert [secret.reveal() for secret in settings.secrets()] == [CANARY] * len(SECRETS)
    assert CANARY not in f"{settings} {list(settings.problems())}"


def test_what_shows_of_settings_are_the_names_that_were_given() -> None:
    assert repr(Settings({"vault-token": CANARY, "aws-region": "us-east-1"})) == "Settings(aws-region, vault-token)"


def test_usual_variables_fill_what_was_not_given() -> None:
    environ = {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "BAO_ADDR": "https://bao",
        "VAULT_ADDR": " ",
    }
    assert from_environment(environ, {"vault-role": "r", "mode": " "}) == {
        "vault-role": "r",
        "mode": " ",
        "aws-region": "eu-west-1",
        "vault-addr": "https://bao",
    }


def test_a_usual_variable_never_replaces_what_was_given() -> None:
    given = {"aws-region": "eu-central-1"}
    assert from_environment({"AWS_REGION": "eu-west-1"}, given) == given
    assert from_environment({"AWS_REGION": "eu-west-1"}, {"aws-region": " "}) == {"aws-region": "eu-west-1"}


def test_a_reference_to_a_key_is_no_secret_to_be_masked() -> None:
    assert list(Settings({"github-app-private-key": " vault://secret/github-app#private_key"}).secrets()) == []
    assert [secret.reveal() for secret in Settings({"github-app-private-key": "-----BEGIN"}).secrets()] == [
        "-----BEGIN"
    ]
