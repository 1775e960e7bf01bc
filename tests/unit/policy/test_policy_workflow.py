from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imip_secrets import cli
from imip_secrets.errors import UsageError
from imip_secrets.policy import workflow

if TYPE_CHECKING:
    from pathlib import Path

STEP = """
      - uses: org/imip-secrets-action@v1
        with:
          aws-region: us-east-1
          aws-role-to-assume: arn:aws:iam::123456789012:role/imip-ci
          export-env: false
          secrets: |
            aws://imip/production
"""


def written(tmp_path: Path, head: str = "on: push", job: str = "environment: production", steps: str = STEP) -> Path:
    path = tmp_path / "deploy.yml"
    text = f"{head}\njobs:\n  deploy:\n    {job}\n    runs-on: x\n    steps:\n      - uses: actions/checkout@v7{steps}"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_steps_that_use_the_action_are_found_with_their_inputs(tmp_path: Path) -> None:
    (step,) = workflow.read(written(tmp_path))
    assert step.title == "deploy.yml, job deploy, step 2"
    assert step.context == "environment:production"
    assert step.inputs["secrets"] == "aws://imip/production\n"
    assert step.inputs["export-env"] == "false"


@pytest.mark.parametrize("uses", ["o/imip-secrets-action@v1", "o/imip-secrets-action/docker@abc", "./", "./docker"])
def test_the_action_is_known_by_its_name(tmp_path: Path, uses: str) -> None:
    steps = STEP.replace("org/imip-secrets-action@v1", uses)
    assert len(workflow.read(written(tmp_path, steps=steps))) == 1


@pytest.mark.parametrize(
    ("head", "job", "context"),
    [
        ("on: push", "environment: {name: a, url: b}", "environment:a"),
        ("on: push", "environment: ${{ inputs.where }}", ""),
        ("on:\n  push:\n    branches: [main]", "name: x", "ref:refs/heads/main"),
        ("on:\n  push:\n    tags: [v1]", "name: x", "ref:refs/tags/v1"),
        ("on:\n  push:\n    branches: [main, next]", "name: x", ""),
        ("on:\n  push:\n    branches: ['release/*']", "name: x", ""),
        ("on: [pull_request]", "name: x", "pull_request"),
        ("on: push", "name: x", ""),
        ("on: {schedule: [{cron: '0 0 * * *'}]}", "name: x", ""),
    ],
)
def test_what_the_sub_ends_in_is_told_where_there_is_one_answer(
    tmp_path: Path, head: str, job: str, context: str
) -> None:
    assert [step.context for step in workflow.read(written(tmp_path, head, job))] == [context]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"jobs: {a: {steps: [{uses: a/b@v1}]}}", "no step of it uses imip-secrets-action"),
        (b"a: b", "it has no jobs"),
        (b"a: [", "is no YAML"),
        (b"\xff\xfe\x00", "is no YAML"),
        (b"[]", "it has no jobs"),
        (b"jobs: {a: {steps: 3}, b: 4, c: {steps: [5, {uses: 6}]}}", "no step of it"),
    ],
)
def test_a_file_that_is_no_such_workflow_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.yml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        workflow.read(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        workflow.read(tmp_path / "none.yml")


# --- the command ------------------------------------------------------------------------------------------------------


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["policy", *arguments])
    return status, *capfd.readouterr()


def test_a_workflow_becomes_policies(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    status, out, err = run(capfd, "--workflow", str(path), "--repository", "octo-org/app")
    assert (status, err) == (0, "")
    assert '"arn:aws:secretsmanager:us-east-1:123456789012:secret:imip/production-??????"' in out
    assert '"repo:octo-org/app:environment:production"' in out
    assert '"repo:octo-org@ORG_ID/app@REPO_ID:environment:production"' in out


def test_an_expression_is_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    steps = STEP.replace("us-east-1", "${{ vars.REGION }}")
    path = str(written(tmp_path, steps=steps))
    status, _, err = run(capfd, "--workflow", path)
    assert status == 2
    assert "the input aws-region is an expression" in err or "--aws-region is an expression" in err
    status, out, _ = run(capfd, "--workflow", path, "--aws-region", "eu-west-1")
    assert status == 0
    assert "secretsmanager:eu-west-1:" in out


def test_a_job_whose_sub_is_not_known_is_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path, job="name: x"))
    status, _, err = run(capfd, "--workflow", path, "--repository", "o/a")
    assert status == 2
    assert "Give --environment, --branch or --tag." in err
    status, out, _ = run(capfd, "--workflow", path, "--repository", "o/a", "--branch", "main")
    assert status == 0
    assert "repo:o/a:ref:refs/heads/main" in out


def test_every_wrong_option_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    wrong = ("--repository", "x", "--account", "1", "--owner-id", "a", "--repository-id", "b", "--issuer", "http://x")
    status, _, err = run(capfd, *wrong, "--vault-mount", "secret", "aws://a")
    assert status == 2
    assert len(err.splitlines()) == 6


def test_the_forms_for_programs(capfd: pytest.CaptureFixture[str]) -> None:
    for form, word in (("json", '"vault.policy"'), ("terraform", '"vault_policy"')):
        status, out, _ = run(capfd, "--format", form, "vault://secret/a")
        assert status == 0
        assert word in out


def test_check_ends_with_1_when_there_are_mistakes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trust.json"
    path.write_text('{"Statement": [{"Effect": "Allow"}]}', encoding="utf-8")
    status, out, err = run(capfd, "--check", str(path))
    assert (status, out) == (1, "")
    assert "statement 1: the action is not sts:AssumeRoleWithWebIdentity alone" in err
    path.write_text('{"subject": "repo:a@1/b@2:ref:refs/heads/main", "issuer": "x"}', encoding="utf-8")
    assert run(capfd, "--check", str(path))[0] == 1
    path.write_bytes(b"\xff")
    assert run(capfd, "--check", str(path))[0] == 2
    assert run(capfd, "--check", str(tmp_path / "none"))[0] == 2


def test_a_policy_without_mistakes_is_said_to_be_one(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io  # noqa: PLC0415  # for this test alone

    good = '{"subject": "repo:a@1/b@2:ref:refs/heads/main", "audiences": ["api://AzureADTokenExchange"], "issuer": '
    monkeypatch.setattr("sys.stdin", io.StringIO(good + '"https://token.actions.githubusercontent.com"}'))
    status, out, err = run(capfd, "--check", "-")
    assert (status, err) == (0, "")
    assert out == "It trusts exactly what it names: no known mistake.\n"
