"""What every store does alike. A store that is new passes this with one class and one row in ``stand_ins.family``."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from imip_secrets.deadline import Deadline
from imip_secrets.errors import ImipError, MissingError, StoreError
from imip_secrets.request import read
from imip_secrets.resolve import resolve
from imip_secrets.stores import SCHEMES
from imip_secrets.stores.base import Target
from stand_ins.family import HARNESSES, Opened, paths, reference, request
from stand_ins.faults import answer, bad_json, html_answer, huge, short, slow
from stand_ins.time_up import end_in
from stand_ins.vault_script import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from stand_ins.family import Fault, Harness
    from stand_ins.faults import Answer
    from stand_ins.oidc import Issuer

MARK = "S3cr3t-m4rk"


@pytest.fixture(params=list(HARNESSES))
def harness(request: pytest.FixtureRequest, worlds: Callable[[str], Harness]) -> Harness:
    return worlds(request.param)


@pytest.fixture(params=[name for name in HARNESSES if not SCHEMES[name].local])
def remote(request: pytest.FixtureRequest, worlds: Callable[[str], Harness]) -> Harness:
    """A store with a service behind it."""
    return worlds(request.param)


def failure(opened: Opened, target: Target) -> StoreError:
    with pytest.raises(StoreError) as caught:
        opened.store.fetch(target)
    said = str(caught.value)
    assert "\n" not in said
    assert caught.value.problem.remedy
    assert MARK not in said
    assert not any(hidden in said for hidden in opened.caller.protected)
    return caught.value


def variables(harness: Harness, issuer: Issuer, *lines: str) -> dict[str, bytes]:
    wanted = read(request(harness, *lines))
    resolved = resolve(wanted, Caller(harness.settings, id_token=issuer.token).context)
    return {variable.name: variable.value.reveal_bytes() for variable in resolved.variables}


def test_no_store_is_left_out() -> None:
    assert set(HARNESSES) == set(SCHEMES)


# --- reading


@pytest.mark.parametrize("text", ["s3cret", " \t$A ${B} \\ \" ' `x` #", "ü\u2028\U0001f511", "a\nb\n", "1.0"])
def test_a_value_comes_as_it_was_written(harness: Harness, issuer: Issuer, text: str) -> None:
    target = harness.put(f"value-{len(text)}", text)
    with Opened(harness, issuer) as opened:
        found = opened.store.fetch(target)
        assert harness.value(found) == text
        assert bool(found.version) == harness.has_versions
        assert found.changed
        assert found.changed.tzinfo
        assert opened.line
        assert not any(hidden in opened.line for hidden in opened.caller.protected)


def test_binary_values_come_byte_for_byte(harness: Harness, issuer: Issuer) -> None:
    data = bytes(range(256)) * 4
    target = harness.put("binary", base64.b64encode(data).decode())
    got = variables(harness, issuer, f"KEY = {reference(harness, target, 'decode=base64')}")
    assert got == {"KEY": data}


def test_many_threads_read_at_once(harness: Harness, issuer: Issuer) -> None:
    targets = [harness.put(f"many-{number}", f"value {number}") for number in range(24)]
    with Opened(harness, issuer) as opened, ThreadPoolExecutor(32) as threads:
        found = list(threads.map(opened.store.fetch, targets))
    assert [harness.value(each) for each in found] == [f"value {number}" for number in range(24)]


def test_every_version_can_be_read(harness: Harness, issuer: Issuer) -> None:
    if not harness.has_versions:
        assert "version" not in SCHEMES[harness.scheme].options
        return
    for number in range(1, 4):
        target = harness.put("versions", f"value {number}")
    with Opened(harness, issuer) as opened:
        assert harness.value(opened.store.fetch(target)) == "value 3"
        for number in (1, 3):
            found = opened.store.fetch(harness.version(target, number))
            assert harness.value(found) == f"value {number}"
        missing = failure(opened, harness.version(target, 9))
    # Where a service does not tell which of them it is that is not there, no more can be said than that.
    assert isinstance(missing, MissingError)


# --- what is not there, and what may not be read


def test_what_is_not_there_is_missing_by_its_name(harness: Harness, issuer: Issuer) -> None:
    target = harness.put("gone", "x")
    nothing = target._replace(path=target.path.replace("gone", "nothing"))
    with Opened(harness, issuer) as opened:
        error = failure(opened, nothing)
    assert isinstance(error, MissingError)
    assert "nothing" in str(error)


def test_what_is_deleted_is_missing(harness: Harness, issuer: Issuer) -> None:
    target = harness.put("deleted", "x")
    harness.delete(target)
    with Opened(harness, issuer) as opened:
        assert isinstance(failure(opened, target), MissingError)
    lines = (f"A = {reference(harness, target, 'optional')}", f"B = {reference(harness, target, 'default=text')}")
    assert variables(harness, issuer, *lines) == {"B": b"text"}


def test_what_is_denied_names_permission_and_resource_and_is_never_missing(harness: Harness, issuer: Issuer) -> None:
    with Opened(harness, issuer) as opened, harness.denying() as target:
        error = failure(opened, target)
    assert not isinstance(error, MissingError)
    assert harness.denial in str(error)


def test_neither_optional_nor_a_default_covers_a_denial(harness: Harness, issuer: Issuer) -> None:
    for option in ("optional", "default=text"):
        with harness.denying() as target, pytest.raises(ImipError) as caught:
            variables(harness, issuer, f"A = {reference(harness, target, option)}")
        assert harness.denial in str(caught.value)


# --- listings


def test_a_listing_goes_over_all_pages_in_the_order_of_names(harness: Harness, issuer: Issuer) -> None:
    targets = [harness.put(f"list-{number:03}", f"value {number}") for number in range(60)]
    gone = harness.put("list-gone", "x")
    harness.delete(gone)
    with Opened(harness, issuer) as opened:
        found = opened.store.list(Target(f"{harness.folder()}list-"), deep=False)
        assert paths(found) == sorted(paths(targets))
        assert [harness.value(opened.store.fetch(each)) for each in found] == [
            f"value {number}" for number in range(60)
        ]


def test_a_listing_that_finds_nothing_is_empty(harness: Harness, issuer: Issuer) -> None:
    harness.put("other", "x")
    with Opened(harness, issuer) as opened:
        assert list(opened.store.list(Target(f"{harness.folder()}nowhere-"), deep=True)) == []


# --- a service that is busy, slow, silent or broken


def test_a_service_that_throttles_is_asked_again(remote: Harness, issuer: Issuer) -> None:
    target = remote.put("throttled", "x")
    assert remote.throttled
    with Opened(remote, issuer) as opened:
        remote.disturb(remote.throttled, remote.throttled)
        assert remote.value(opened.store.fetch(target)) == "x"
    assert remote.undisturbed()


@pytest.mark.parametrize("fault", [answer(503), answer(500), "reset", "close"])
def test_what_passes_does_not_show(remote: Harness, issuer: Issuer, fault: Fault) -> None:
    target = remote.put("passing", "x")
    with Opened(remote, issuer) as opened:
        remote.disturb(fault)
        assert remote.value(opened.store.fetch(target)) == "x"
    assert remote.undisturbed()


def test_a_slow_answer_is_waited_for(remote: Harness, issuer: Issuer) -> None:
    target = remote.put("slow", "x")
    with Opened(remote, issuer) as opened:
        remote.disturb(lambda whole: slow(whole, 1000))
        assert remote.value(opened.store.fetch(target)) == "x"
    assert remote.undisturbed()


def test_a_service_that_hangs_ends_with_the_run(remote: Harness, issuer: Issuer) -> None:
    target = remote.put("hung", "x")
    with Opened(remote, issuer, (deadline := Deadline(100))) as opened:
        remote.disturb("hang", "hang", "hang")
        end_in(deadline, 1.5)
        started = time.monotonic()
        error = failure(opened, target)
        assert time.monotonic() - started < 10
    assert not isinstance(error, MissingError)
    remote.undisturbed()


def test_a_truncated_answer_is_no_value(remote: Harness, issuer: Issuer) -> None:
    target = remote.put("short", f"{MARK}{MARK}")

    def cut(whole: Answer) -> Answer:
        return short(whole, len(whole.body) // 3)

    with Opened(remote, issuer) as opened:
        remote.disturb(cut)
        assert remote.value(opened.store.fetch(target)) == f"{MARK}{MARK}"
    with Opened(remote, issuer, (deadline := Deadline(100))) as opened:
        remote.disturb(*[cut] * 40)
        end_in(deadline, 1.5)
        assert not isinstance(failure(opened, target), MissingError)
    remote.undisturbed()


@pytest.mark.parametrize("fault", [html_answer(), bad_json(), answer(200), answer(302, Location="https://x.example")])
def test_an_answer_of_another_form_is_an_error_of_its_own(remote: Harness, issuer: Issuer, fault: Fault) -> None:
    target = remote.put("form", "x")
    with Opened(remote, issuer) as opened:
        remote.disturb(*[fault] * 3)
        error = failure(opened, target)
    assert not isinstance(error, MissingError)
    remote.undisturbed()


def test_an_endless_answer_is_not_read(remote: Harness, issuer: Issuer) -> None:
    target = remote.put("endless", "x")
    with Opened(remote, issuer) as opened:
        remote.disturb(*[huge()] * 3)
        assert "MiB" in str(failure(opened, target))
    remote.undisturbed()


# --- what a store owes the core


def test_a_store_that_was_never_logged_in_is_closed_without_a_word(harness: Harness, issuer: Issuer) -> None:
    Opened(harness, issuer).store.close()


def test_the_module_has_its_two_functions_and_finds_no_fault_with_what_is_right(harness: Harness) -> None:
    module = SCHEMES[harness.scheme].load()
    caller = Caller(harness.settings)
    assert list(module.check(caller.context.settings, [harness.put("right", "x")])) == []


RUN = """
import json, sys
from imip_secrets.deadline import Deadline
from imip_secrets.identity import IdToken
from imip_secrets.request import read
from imip_secrets.resolve import resolve
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Context
given = json.load(sys.stdin)
wanted = read(given["inputs"])
token = lambda audience: IdToken(Secret(given["tokens"][audience]), {})
resolved = resolve(wanted, Context(wanted.settings, token, lambda _: None, lambda _: None, Deadline(30)))
print(json.dumps([[variable.name for variable in resolved.variables], sorted(sys.modules)]))
"""
LIBRARIES = {name: made.library for name, made in HARNESSES.items()}


def test_a_run_with_one_store_imports_no_others_library(harness: Harness, issuer: Issuer) -> None:
    target = harness.put("alone", "x")
    given = {
        "inputs": request(harness, f"ALONE = {reference(harness, target)}"),
        "tokens": {harness.audience: issuer.token(harness.audience)},
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={"PYTHONPATH": "src", "SYSTEMROOT": "C:\\Windows"},
    )
    assert done.stderr == ""
    names, modules = json.loads(done.stdout)
    assert names == ["ALONE"]
    imported = {*modules, *(module.partition(".")[0] for module in modules)}
    own = LIBRARIES[harness.scheme]
    assert imported & own or not own, "the names of the libraries are right"
    assert not imported & (frozenset().union(*LIBRARIES.values()) - own)
    others = {scheme.module for scheme in SCHEMES.values() if scheme.name != harness.scheme}
    assert not imported & others
