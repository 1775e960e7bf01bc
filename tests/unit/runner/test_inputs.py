from __future__ import annotations

import pytest

from imip_secrets.runner.inputs import read
from imip_secrets.settings import INPUTS


def test_every_input_is_read_with_hyphens_and_with_underscores() -> None:
    for item in INPUTS:
        name = f"INPUT_{item.name.upper()}"
        assert read({name: "given"}) == {item.name: "given"}
        assert read({name.replace("-", "_"): "given"}) == {item.name: "given"}


def test_the_form_with_hyphens_counts_first_unless_it_is_empty() -> None:
    both = {"INPUT_AWS-REGION": "us-east-1", "INPUT_AWS_REGION": "eu-west-1"}
    assert read(both) == {"aws-region": "us-east-1"}
    assert read({**both, "INPUT_AWS-REGION": ""}) == {"aws-region": "eu-west-1"}


def test_the_text_of_an_input_stays_as_it_is() -> None:
    assert read({"INPUT_SECRETS": "\n # 1\n aws://a \n"}) == {"secrets": "\n # 1\n aws://a \n"}


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_an_empty_input_is_not_given(text: str) -> None:
    assert read({"INPUT_VAULT_ADDR": text}) == {}


def test_what_is_no_input_is_left_alone() -> None:
    assert read({"INPUT_WHATEVER": "x", "AWS_REGION": "x", "VAULT_TOKEN": "x"}) == {}


def test_the_session_is_named_after_the_run() -> None:
    assert read({"GITHUB_RUN_ID": "1658821493"}) == {"aws-role-session-name": "imip-secrets-1658821493"}
    assert read({"GITHUB_RUN_ID": "1", "INPUT_AWS_ROLE_SESSION_NAME": " "})["aws-role-session-name"] == "imip-secrets-1"


def test_the_name_of_the_session_that_is_given_counts() -> None:
    given = {"GITHUB_RUN_ID": "1", "INPUT_AWS_ROLE_SESSION_NAME": "mine"}
    assert read(given) == {"aws-role-session-name": "mine"}


@pytest.mark.parametrize("run", ["", "x", "1; rm", "²", "-1", "1 2"])
def test_a_run_that_is_no_number_names_no_session(run: str) -> None:
    assert read({"GITHUB_RUN_ID": run}) == {}


def test_the_name_of_a_session_is_never_longer_than_aws_allows() -> None:
    assert read({"GITHUB_RUN_ID": "1" * 100})["aws-role-session-name"] == "imip-secrets-" + "1" * 51
