"""``action.yml`` is what people read and what the runner runs; it says what the settings say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from imip_secrets.settings import INPUTS, Input

Yaml = dict[str, Any]

ACTION = Path(__file__).parents[2] / "action.yml"
OF_IMAGE = ACTION.parent / "docker" / "action.yml"
BLANKED = {"BASH_ENV", "GCONV_PATH", "LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD"}


@pytest.fixture(scope="module")
def action() -> Yaml:
    content: Yaml = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def step(action: Yaml) -> Yaml:
    only: Yaml
    (only,) = action["runs"]["steps"]
    return only


def test_inputs_are_the_settings_in_their_order(action: Yaml) -> None:
    assert list(action["inputs"]) == [item.name for item in INPUTS]


@pytest.mark.parametrize("item", INPUTS, ids=lambda item: item.name)
def test_an_input_has_the_help_and_the_default_of_its_setting(action: Yaml, item: Input) -> None:
    spec = action["inputs"][item.name]
    assert (spec["description"], spec.get("default", "")) == (item.help, item.default)


def test_inputs_stand_under_the_headings_of_their_groups() -> None:
    heading, headings = "", {}
    for line in ACTION.read_text(encoding="utf-8").partition("outputs:")[0].splitlines():
        if line.startswith("  # "):
            heading = line.removeprefix("  # ")
        elif re.fullmatch(r"  [a-z-]+:", line):
            headings[line.strip(" :")] = heading
    assert headings == {item.name: item.group for item in INPUTS}


def test_only_secrets_is_required(action: Yaml) -> None:
    assert [name for name, spec in action["inputs"].items() if spec.get("required")] == ["secrets"]


def test_outputs_come_from_the_step(action: Yaml) -> None:
    values = {name: spec["value"] for name, spec in action["outputs"].items()}
    names = ("json", "names", "count", "sync-report", "changed")
    assert values == {name: f"${{{{ steps.run.outputs.{name} }}}}" for name in names}


def test_every_input_reaches_the_step_by_its_environment(step: Yaml) -> None:
    passed = {name: value for name, value in step["env"].items() if name.startswith("INPUT_")}
    assert passed == {
        f"INPUT_{item.name.upper().replace('-', '_')}": f"${{{{ inputs.{item.name} }}}}" for item in INPUTS
    }


def test_the_rest_of_the_environment_is_blanked(step: Yaml) -> None:
    assert {name: value for name, value in step["env"].items() if not name.startswith("INPUT_")} == dict.fromkeys(
        BLANKED, ""
    )


def test_nothing_is_expanded_inside_the_script(step: Yaml) -> None:
    assert "${{" not in step["run"]
    assert step["shell"] == "bash --noprofile --norc -p -e -o pipefail {0}"


def test_shellcheck_finds_nothing_in_the_script(step: Yaml) -> None:
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        [shellcheck, "--shell=bash", "--enable=quote-safe-variables", "-"],
        input=step["run"].encode(),
        capture_output=True,
        check=False,
    )
    assert done.stdout.decode() == ""
    assert done.returncode == 0


def test_the_image_takes_the_same_inputs_word_for_word() -> None:
    """What is added to action.yml is added to docker/action.yml: copy the whole part."""
    own, other = (file.read_text(encoding="utf-8").partition("\ninputs:\n")[2] for file in (ACTION, OF_IMAGE))
    assert other.partition("\noutputs:\n")[0].splitlines() == own.partition("\noutputs:\n")[0].splitlines()


def test_the_image_gives_the_same_outputs(action: Yaml) -> None:
    other = yaml.safe_load(OF_IMAGE.read_text(encoding="utf-8"))["outputs"]
    assert other == {name: {"description": spec["description"]} for name, spec in action["outputs"].items()}
