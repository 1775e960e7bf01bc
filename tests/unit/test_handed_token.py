from __future__ import annotations

import json
import os
import shlex
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets import handed_token
from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imip_secrets.identity import IdToken, IdTokenSource
    from imip_secrets.secret import Secret

AWS, VAULT = "sts.amazonaws.com", "https://vault.company.com:8200"


def token(audience: object, **claims: object) -> str:
    times = {"iat": int(time.time()), "exp": int(time.time()) + 300}
    return jwt.encode(
        {**times, "sub": "project_path:g/p:ref_type:branch:ref:main", "aud": audience, **claims}, "k" * 32
    )


def source(environ: Mapping[str, str], protected: list[str] | None = None, seconds: float = 60.0) -> IdTokenSource:
    protected = [] if protected is None else protected

    def protect(secret: Secret) -> None:
        protected.append(secret.reveal())

    found = handed_token.source(environ, Deadline(seconds), protect)
    assert found is not None
    return found


def given_for(environ: Mapping[str, str], audience: str) -> IdToken:
    return source(environ)(audience)


def refusal(environ: Mapping[str, str], audience: str = AWS, seconds: float = 60.0) -> str:
    protected: list[str] = []
    with pytest.raises(ImipError) as caught:
        source(environ, protected, seconds)(audience)
    (problem,) = caught.value.problems
    said = str(problem)
    assert said.startswith("ID token: ")
    assert len(said.splitlines()) == 1
    assert "eyJ" not in said
    return said


def command(script: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", script, *arguments])


needs_posix = pytest.mark.skipif(os.name != "posix", reason="the quotes of a POSIX shell")

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)

# --- tokens in variables


def test_without_any_of_the_variables_there_is_no_source() -> None:
    for environ in ({}, {"IMIP_ID_TOKENS": "x", "IMIP_TOKEN": "x"}, {"IMIP_ID_TOKEN": "", "IMIP_ID_TOKEN_AWS": " \n"}):
        assert handed_token.source(environ, Deadline(1), lambda _: None) is None


def test_a_token_is_given_with_its_claims_and_protected_first() -> None:
    ours, protected = token(AWS), list[str]()
    got = source({"IMIP_ID_TOKEN": f" {ours}\n"}, protected)(AWS)
    assert got.token.reveal() == ours
    assert got.claims["aud"] == AWS
    assert protected == [ours]


def test_the_token_is_chosen_by_its_audience_whatever_its_variable_is_called() -> None:
    first, second = token(AWS), token(VAULT)
    environ = {"IMIP_ID_TOKEN_VAULT": first, "IMIP_ID_TOKEN_AWS": second}
    assert given_for(environ, AWS).token.reveal() == first
    assert given_for(environ, VAULT).token.reveal() == second


def test_a_token_may_be_for_several_audiences() -> None:
    environ = {"IMIP_ID_TOKEN": token([AWS, VAULT])}
    assert given_for(environ, AWS) == given_for(environ, VAULT)


def test_of_two_tokens_for_one_audience_the_one_that_lives_longer_is_given() -> None:
    old, new = token(AWS, exp=int(time.time()) - 3600), token(AWS)
    for environ in ({"IMIP_ID_TOKEN": old, "IMIP_ID_TOKEN_B": new}, {"IMIP_ID_TOKEN": new, "IMIP_ID_TOKEN_B": old}):
        assert given_for(environ, AWS).token.reveal() == new


def test_a_broken_token_beside_the_right_one_does_no_harm() -> None:
    environ = {"IMIP_ID_TOKEN": "$NOT_EXPANDED", "IMIP_ID_TOKEN_FILE": "/nowhere", "IMIP_ID_TOKEN_X": token(AWS)}
    assert given_for(environ, AWS).claims["aud"] == AWS


def test_a_token_without_an_end_is_for_the_store_to_judge() -> None:
    assert given_for({"IMIP_ID_TOKEN": jwt.encode({"aud": AWS}, "k" * 32)}, AWS).claims == {"aud": AWS}


def test_no_token_for_the_audience_is_told_with_the_audiences_there_are() -> None:
    assert refusal({"IMIP_ID_TOKEN_A": token("other"), "IMIP_ID_TOKEN_B": token(["x", "y"])}) == (
        "ID token: there is none for the audience sts.amazonaws.com: IMIP_ID_TOKEN_A is for other; IMIP_ID_TOKEN_B is "
        "for x, y. Have one made for that audience, or name the audience of yours (aws-audience, vault-audience, "
        "azure-audience). In GitLab: id_tokens: {IMIP_ID_TOKEN: {aud: THE AUDIENCE}}."
    )


def test_an_audience_is_compared_as_a_whole() -> None:
    assert "is for sts.amazonaws.com.evil.example" in refusal({"IMIP_ID_TOKEN": token(f"{AWS}.evil.example")})


def test_a_token_without_an_audience_is_for_nobody() -> None:
    assert "IMIP_ID_TOKEN is for no audience" in refusal({"IMIP_ID_TOKEN": jwt.encode({"sub": "x"}, "k" * 32)})


def test_a_token_that_is_over_is_told_with_since_when() -> None:
    said = refusal({"IMIP_ID_TOKEN": token(AWS, exp=int(time.time()) - 720)})
    assert said.startswith("ID token: the token of IMIP_ID_TOKEN ended 12 min ago, by the clock of this machine. ")
    # Two clocks may differ.
    assert given_for({"IMIP_ID_TOKEN": token(AWS, exp=int(time.time()) - 200)}, AWS).claims["aud"] == AWS


@pytest.mark.parametrize(
    "text", ["garbage", "a.b", "a.b.c.d", "a.b.c", "eyJhbGciOiJub25lIn0.W10.x", "ü.ü.ü", "a\nb.c.d"]
)
def test_garbage_is_no_token_and_is_not_shown(text: str) -> None:
    said = refusal({"IMIP_ID_TOKEN": text})
    assert "IMIP_ID_TOKEN holds no ID token (a JWT: three parts with dots between)" in said
    assert text not in said


@given(text=st.text(alphabet=st.characters(blacklist_characters="\0"), min_size=1))
def test_any_text_is_a_token_or_one_clear_line(text: str) -> None:
    found = handed_token.source({"IMIP_ID_TOKEN": text}, Deadline(60), lambda _: None)
    with suppress(ImipError):
        assert found is None or found(AWS) is not None


@given(
    audience=st.sampled_from([AWS, [AWS], [AWS, 1]]) | SCALARS | st.lists(SCALARS, max_size=3),
    end=st.sampled_from([0, -(10**400), 10**400, -1e300]) | SCALARS,
)
def test_any_claims_are_a_token_or_one_clear_line(audience: object, end: object) -> None:
    payload = jwt.api_jws.encode(json.dumps({"aud": audience, "exp": end}).encode(), "k" * 32)
    with suppress(ImipError):
        assert given_for({"IMIP_ID_TOKEN": payload}, AWS) is not None


def test_what_a_foreign_token_claims_cannot_speak_to_a_runner() -> None:
    said = refusal({"IMIP_ID_TOKEN": token("x\n::stop-commands::y\x1b[2J")})
    assert "::" not in said.removeprefix("ID token: ")
    assert "\x1b" not in said


# --- files


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    first, second = token(AWS), token(AWS, jti="2")
    file.write_text(first + "\n")
    find = source({"IMIP_ID_TOKEN_FILE_AWS": str(file)})
    assert find(AWS).token.reveal() == first
    file.write_text(second)
    assert find(AWS).token.reveal() == second


def test_files_for_several_audiences(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(token(AWS))
    (tmp_path / "b").write_text(token(VAULT))
    environ = {"IMIP_ID_TOKEN_FILE": str(tmp_path / "a"), "IMIP_ID_TOKEN_FILE_VAULT": str(tmp_path / "b")}
    assert given_for(environ, VAULT).claims["aud"] == VAULT


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe.\xff.\xff")
    assert "names a file that cannot be read (No such file or directory)" in refusal({"IMIP_ID_TOKEN_FILE": "/no/file"})
    assert "cannot be read (it is no UTF-8 text)" in refusal({"IMIP_ID_TOKEN_FILE": str(tmp_path / "binary")})
    assert "cannot be read" in refusal({"IMIP_ID_TOKEN_FILE": str(tmp_path)})
    assert "cannot be read" in refusal({"IMIP_ID_TOKEN_FILE": "a\0b"})


# --- a command

PRINT = "import sys; print(sys.argv[1])"


@needs_posix
def test_a_command_is_asked_with_the_audience(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({AWS: token(AWS), VAULT: token(VAULT)}))
    script = "import sys, json; print(json.load(open(sys.argv[1]))[sys.argv[2]])"
    find = source({"IMIP_ID_TOKEN_COMMAND": command(script, str(tokens), "{audience}")})
    assert find(AWS).claims["aud"] == AWS
    assert find(VAULT).claims["aud"] == VAULT


@needs_posix
def test_an_audience_is_one_word_whatever_is_in_it() -> None:
    audience = 'a b\'; echo "$HOME"'
    environ = {"IMIP_ID_TOKEN_COMMAND": command(PRINT, token(audience), "{audience}")}
    assert given_for(environ, audience).claims["aud"] == audience


@needs_posix
def test_a_command_is_asked_only_for_what_no_good_token_is_there_for() -> None:
    printed = token(AWS, jti="printed")
    environ = {"IMIP_ID_TOKEN": token(VAULT), "IMIP_ID_TOKEN_COMMAND": command(PRINT, printed)}
    assert given_for(environ, AWS).token.reveal() == printed
    assert given_for(environ, VAULT).token.reveal() == environ["IMIP_ID_TOKEN"]
    over = {**environ, "IMIP_ID_TOKEN": token(AWS, exp=1)}
    assert given_for(over, AWS).token.reveal() == printed


@needs_posix
def test_a_command_of_no_use_is_told_in_one_line() -> None:
    def said(line: str) -> str:
        return refusal({"IMIP_ID_TOKEN_COMMAND": line})

    assert "IMIP_ID_TOKEN_COMMAND printed no ID token" in said(command("print('{}')"))
    assert "printed a token for other, asked for was sts.amazonaws.com" in said(command(PRINT, token("other")))
    assert "the token of IMIP_ID_TOKEN_COMMAND ended" in said(command(PRINT, token(AWS, exp=1)))
    assert "failed (status 3)" in said(command("raise SystemExit(3)"))
    assert "cannot be started: No such file or directory" in said("no-such-command {audience}")
    assert "cannot be read: No closing quotation" in said("x 'y")
    assert "cannot be started" in said("''")


@needs_posix
def test_a_command_has_no_longer_than_the_run() -> None:
    slow = command("import time; time.sleep(60)")
    assert "did not end within 0 s" in refusal({"IMIP_ID_TOKEN_COMMAND": slow}, seconds=0.3)


@needs_posix
def test_what_a_command_says_besides_is_left_to_its_reader(capfd: pytest.CaptureFixture[str]) -> None:
    script = "import sys; print(sys.argv[1]); print('a note', file=sys.stderr)"
    given_for({"IMIP_ID_TOKEN_COMMAND": command(script, token(AWS))}, AWS)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "a note\n"
