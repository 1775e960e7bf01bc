"""How a release is made: its notes, its list of parts, its image by digest, and the workflow that may sign it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from imip_secrets.stores.aws.services import SERVICES
from release import image, notes, pin, sbom
from stand_ins import shipped

ROOT = Path(__file__).parents[2]
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
CHANGELOG = """# Changelog

## [Unreleased]

- Later.

## [1.2.3] - 2026-11-27

### Added

- This.

## [1.2.2] - 2026-11-20

- That.
"""
STATUS = """Package: libc6
Status: install ok installed
Version: 2.36-9+deb12u10
Architecture: amd64
Description: C library
 and more: of it

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: all
"""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- notes


def test_the_notes_are_the_part_of_the_changelog_that_has_the_version() -> None:
    assert notes.notes("v1.2.3", "1.2.3", CHANGELOG) == "### Added\n\n- This."


@pytest.mark.parametrize(
    ("tag", "version", "said"),
    [
        ("v1.2", "1.2", "v1.2 is no version like v1.2.3"),
        ("source/v1.2.3", "1.2.3", "is no version"),
        ("v1.2.3", "1.2.4", "the tag says 1.2.3, and the program 1.2.4"),
        ("v1.2.4", "1.2.4", r"has no part '## \[1.2.4\] - DATE'"),
    ],
)
def test_a_tag_that_fits_neither_program_nor_changelog_is_refused(tag: str, version: str, said: str) -> None:
    with pytest.raises(notes.NotReadyError, match=said):
        notes.notes(tag, version, CHANGELOG)


def test_a_version_without_a_word_about_it_is_refused() -> None:
    with pytest.raises(notes.NotReadyError, match="or nothing in it"):
        notes.notes("v1.0.0", "1.0.0", "## [1.0.0] - 2026-01-01\n\n## [0.9.0] - 2025-01-01\n- x\n")


def test_the_version_is_that_of_the_program() -> None:
    from imip_secrets import __version__  # noqa: PLC0415  # beside what reads it from the file

    assert notes.program_version(read("src/imip_secrets/__init__.py")) == __version__


# --- the image of docker/action.yml


def test_the_image_of_the_main_branch_becomes_one_by_digest() -> None:
    before, after = read("docker/action.yml"), pin.pinned(read("docker/action.yml"), DIGEST)
    assert yaml.safe_load(after)["runs"]["image"] == f"docker://ghcr.io/org/imip-secrets-action@{DIGEST}"
    assert yaml.safe_load(after)["inputs"] == yaml.safe_load(before)["inputs"]
    assert "zizmor" not in after
    assert "main branch" not in after


@pytest.mark.parametrize("digest", ["", "v1", "sha256:", DIGEST[:-1], DIGEST.upper(), f"{DIGEST}\n", f"{DIGEST}0"])
def test_only_a_digest_is_one(digest: str) -> None:
    with pytest.raises(ValueError, match="no digest"):
        pin.pinned(read("docker/action.yml"), digest)


def test_an_image_that_is_pinned_already_is_not_pinned_again() -> None:
    with pytest.raises(ValueError, match="no image by tag"):
        pin.pinned(pin.pinned(read("docker/action.yml"), DIGEST), DIGEST)


# --- what the image is built of


def test_the_base_is_by_digest_and_says_its_python() -> None:
    dockerfile = read("Dockerfile")
    assert re.search(r"^ARG BASE_IMAGE=\S+@sha256:[0-9a-f]{64}$", dockerfile, re.MULTILINE)
    assert f'"Programming Language :: Python :: {image.base_python(dockerfile)}"' in read("pyproject.toml")


def test_a_base_of_another_name_says_no_python() -> None:
    with pytest.raises(ValueError, match="does not say its Python"):
        image.base_python("ARG BASE_IMAGE=debian:12-slim\n")


def test_the_image_has_every_set_that_is_not_in_the_bundle() -> None:
    assert {"azure", "github"} <= set(image.sets())
    assert {"aws", "vault", "runner", "dev"}.isdisjoint(image.sets())


# --- what is in it


def test_each_library_of_the_bundle_is_listed_as_the_locks_have_it() -> None:
    listed = {str(each["purl"]) for each in sbom.of_bundle(shipped.built())}
    locked = {
        str(each["purl"])
        for name in ("aws", "runner", "vault")
        for each in sbom.of_lock(read(f"requirements/{name}.txt"))
    }
    assert "pkg:pypi/botocore@" in " ".join(listed)
    assert "pkg:pypi/python-dateutil@" in " ".join(listed)
    assert listed <= locked


def test_every_pin_of_a_lock_is_listed() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        assert len(list(sbom.of_lock(text))) == len(re.findall(r"^[^ #\n]+==", text, re.MULTILINE))


def test_what_debian_has_installed_is_listed_and_what_it_removed_is_not() -> None:
    assert [each["purl"] for each in sbom.of_debian(STATUS)] == ["pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64"]


def test_a_list_is_the_same_each_time_and_has_each_part_once_by_a_name_of_its_own() -> None:
    parts = [*sbom.of_debian(STATUS), *sbom.of_lock(read("requirements/azure.txt")), *sbom.of_debian(STATUS)]
    first, again = (sbom.document("image", "1.2.3", given) for given in (parts, parts[::-1]))
    assert json.dumps(first) == json.dumps(again)
    assert (first["bomFormat"], first["specVersion"]) == ("CycloneDX", "1.6")
    assert isinstance(first["components"], list)
    names = [each["bom-ref"] for each in first["components"]]
    assert len(names) == len(set(names)) == len({each["purl"] for each in parts})
    assert sbom.document("image", "1.2.4", parts)["serialNumber"] != first["serialNumber"]


# --- the commit of a release


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_gives_back_every_file_of_the_bundle_as_its_manifest_says(tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    shutil.copytree(shipped.built(), there / "bundle")
    for name in (".gitattributes", ".gitignore"):
        shutil.copy(ROOT / name, there)

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "core.autocrlf=false")
        command = [shutil.which("git") or "git", *who, *arguments]
        subprocess.run(command, cwd=there, check=True, capture_output=True)

    git("init", "--quiet")
    git("add", "--force", "bundle", ".gitattributes")
    git("commit", "--quiet", "--message", "Release")
    git("clone", "--quiet", ".", str(back))
    lines = (back / "bundle" / "MANIFEST").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 200
    for line in lines:
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((back / "bundle" / name).read_bytes()).hexdigest() == digest, name


# --- the workflow


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(read(".github/workflows/release.yml"))
    return content


def test_one_job_alone_may_sign(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {}
    assert [name for name, job in workflow["jobs"].items() if "id-token" in job["permissions"]] == ["sign"]


def test_what_is_signed_was_built_and_tried_by_jobs_that_can_write_nothing(workflow: dict[str, Any]) -> None:
    jobs = workflow["jobs"]
    assert set(jobs["sign"]["needs"]) == {"build", "image", "whole", "try"}
    for name in jobs["sign"]["needs"]:
        assert jobs[name]["permissions"] == {"contents": "read"}
    # Nothing that was checked out runs where the signature is made.
    assert [step for step in jobs["sign"]["steps"] if "checkout" in step.get("uses", "")] == []


def test_what_is_in_each_machine_s_image_is_signed_at_that_image(workflow: dict[str, Any]) -> None:
    machines = {each["machine"] for each in workflow["jobs"]["image"]["strategy"]["matrix"]["include"]}
    given = [step["with"] for step in workflow["jobs"]["sign"]["steps"] if "sbom-path" in step.get("with", {})]
    signed = {(each["sbom-path"], each["subject-digest"]) for each in given if "subject-digest" in each}
    assert signed == {
        (f"image-{machine}/image-{machine}.cdx.json", f"${{{{ steps.push.outputs.{machine} }}}}")
        for machine in machines
    }
    # They are verified by the tags that the images are pushed with.
    assert all(f"-{machine}`" in read("SECURITY.md") for machine in machines)


def test_every_service_of_aws_that_may_be_asked_is_told() -> None:
    told = read("SECURITY.md").partition("## Where it connects")[2].partition("\n## ")[0]
    assert [name for name in SERVICES if f"`{name}`" not in told] == []


def test_nothing_is_published_before_the_tag_was_checked_and_somebody_agreed(workflow: dict[str, Any]) -> None:
    assert "check" in workflow["jobs"]["publish"]["needs"]
    assert workflow["jobs"]["publish"]["environment"] == "release"


def test_no_job_of_a_release_uses_a_cache() -> None:
    text = read(".github/workflows/release.yml")
    assert "actions/cache" not in text
    assert not re.search(r"^\s+cache:", text, re.MULTILINE)


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_every_action_of_others_is_by_commit_with_its_version_beside_it(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        used = re.search(r"uses: (\S+)(.*)", line)
        if used and not used[1].startswith(("./", "org/imip-secrets-action@")):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used[1] + used[2]), line
