"""Parameter Store against a server that answers by a script."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.errors import MissingError, StoreError
from imip_secrets.settings import Settings
from imip_secrets.stores.aws.ssm import check
from imip_secrets.stores.aws.ssm_batch import SIZE, batches
from imip_secrets.stores.base import Target
from stand_ins.aws_script import ROLE, Run, refusal
from stand_ins.faults import Answer, answer, bad_json, html_answer, json_answer

if TYPE_CHECKING:
    from stand_ins.faults import Request, Step

NAME = "/imip/prod/db-password"
TARGET = Target(NAME)
ARN = "arn:aws:ssm:us-east-1:123456789012:parameter/imip/prod/db-password"


def entry(name: str, value: str = "a value", version: int = 3) -> dict[str, object]:
    arn = f"arn:aws:ssm:us-east-1:123456789012:parameter/{name.lstrip('/')}"
    return {"Name": name, "Value": value, "Version": version, "ARN": arn, "LastModifiedDate": 1_700_000_000.5}


def given_parameters(*entries: dict[str, object], invalid: tuple[str, ...] = ()) -> Answer:
    return json_answer({"Parameters": entries, "InvalidParameters": invalid})


def page(*entries: dict[str, object], token: str | None = None) -> Answer:
    return json_answer({"Parameters": entries, **({"NextToken": token} if token else {})})


class Ssm(Run):
    """A run whose store is Parameter Store."""

    def __init__(self, *steps: Step, **options: object) -> None:
        super().__init__(*steps, scheme="aws-ssm", **options)  # type: ignore[arg-type]  # as Run takes them

    @property
    def asked(self) -> list[tuple[str, dict[str, object]]]:
        """What was asked for: the operation and its parameters."""
        return [(operation(request), json.loads(request.body)) for request in self.reads]


def operation(request: Request) -> str:
    return request.headers["x-amz-target"].partition(".")[2]


def failure(*steps: Step, target: Target = TARGET, **options: object) -> StoreError:
    with Ssm(*steps, **options) as run, pytest.raises(StoreError) as caught:
        run.logged_in().fetch(target)
    return caught.value


# --- reading


def test_a_parameter_is_read_decrypted_with_its_version_and_age() -> None:
    with Ssm(given_parameters(entry(NAME, "s3cret\n"))) as run:
        found = run.logged_in().fetch(TARGET)
        assert run.asked == [("GetParameters", {"Names": [NAME], "WithDecryption": True})]
        assert "/us-east-1/ssm/aws4_request" in run.reads[0].headers["authorization"]
    assert (found.value.reveal(), found.version, found.is_data) == ("s3cret\n", "3", False)
    assert found.changed
    assert found.changed.tzinfo


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Target(NAME, version="2"), f"{NAME}:2"),
        (Target(NAME, version="prod"), f"{NAME}:prod"),
        (Target(ARN), ARN),
        (Target("db-password"), "db-password"),
    ],
)
def test_versions_labels_arns_and_plain_names_are_sent_as_aws_takes_them(target: Target, name: str) -> None:
    base = "db-password" if name == "db-password" else NAME
    with Ssm(given_parameters(entry(base))) as run:
        assert run.logged_in().fetch(target).version == "3"
        assert run.asked[0][1]["Names"] == [name]


def test_an_arn_is_read_in_its_own_region() -> None:
    arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/x"
    with Ssm(given_parameters({**entry("/x"), "ARN": arn})) as run:
        run.logged_in().fetch(Target(arn))
        assert "/eu-west-1/ssm/" in run.reads[0].headers["authorization"]


def echo(request: Request) -> Step:
    """Give every parameter that is asked for."""
    names = json.loads(request.body)["Names"]
    return given_parameters(*(entry(name.partition(":")[0], f"value of {name}") for name in names))


class Echo(Ssm):
    """A Parameter Store that has everything."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.server._steps.clear()
        self.server._handler = echo


def test_what_is_expected_is_read_in_tens_however_many_threads_ask() -> None:
    targets = [Target(f"/imip/p{number:03}") for number in range(95)]
    with Echo() as run:
        store = run.logged_in()
        store.expect(targets)
        with ThreadPoolExecutor(32) as threads:
            found = list(threads.map(store.fetch, targets))
        sizes = [len(asked["Names"]) for _, asked in run.asked]  # type: ignore[arg-type]  # a list
    assert [each.value.reveal() for each in found] == [f"value of {target.path}" for target in targets]
    assert len(sizes) == 10
    assert max(sizes) == SIZE


def test_a_thread_that_asks_for_what_nobody_foresaw_is_served() -> None:
    with Echo() as run:
        assert run.logged_in().fetch(Target("/x")).value.reveal() == "value of /x"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([None, "1", "2"]), st.sampled_from("xy"))))
def test_batches_hold_every_target_once_and_no_name_twice(written: list[tuple[str, str | None, str]]) -> None:
    targets = list(dict.fromkeys(Target(path, version=version, region=region) for path, version, region in written))
    made = batches(targets, lambda target: target.region or "")
    assert sorted(str(target) for batch in made for target in batch.targets) == sorted(map(str, targets))
    for batch in made:
        assert 0 < len(batch.targets) <= SIZE
        assert len({target.path for target in batch.targets}) == len(batch.targets)
        assert len({target.region for target in batch.targets}) == 1


def test_two_versions_of_one_parameter_are_two_requests() -> None:
    targets = [Target(NAME), Target(NAME, version="1")]
    with Echo() as run:
        store = run.logged_in()
        store.expect(targets)
        assert [store.fetch(target).value.reveal() for target in targets] == [f"value of {NAME}", f"value of {NAME}:1"]
        assert [asked["Names"] for _, asked in run.asked] == [[NAME], [f"{NAME}:1"]]


# --- what is missing, or refused


def test_what_is_not_there_is_missing_and_holds_up_no_other() -> None:
    targets = [Target("/a"), Target("/b")]
    with Ssm(given_parameters(entry("/a"), invalid=("/b",))) as run:
        store = run.logged_in()
        store.expect(targets)
        assert store.fetch(targets[0]).value.reveal() == "a value"
        with pytest.raises(MissingError, match=r"there is no parameter /b in us-east-1 \(account 123456789012\)"):
            store.fetch(targets[1])
        assert len(run.reads) == 1


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (given_parameters(entry(NAME, version=7)), "has no version or label 9. The current version is 7; see which"),
        (given_parameters(invalid=(NAME,)), "there is no parameter"),
        (refusal("AccessDeniedException"), "there is no parameter"),
        (answer(500), "there is no parameter"),
    ],
)
def test_a_version_that_is_not_there_is_told_from_a_parameter_that_is_not(second: Step, words: str) -> None:
    error = failure(given_parameters(invalid=(f"{NAME}:9",)), second, target=Target(NAME, version="9"))
    assert isinstance(error, MissingError)
    assert words in str(error)


DENIED = "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: ssm:GetParameters on resource: " + ARN


def test_a_denial_names_the_action_the_arn_and_the_role() -> None:
    error = failure(refusal("AccessDeniedException", DENIED))
    assert not isinstance(error, MissingError)
    assert f"Allow ssm:GetParameters (or ssm:GetParameter) on {ARN} to {ROLE}." in str(error)
    outright = failure(refusal("AccessDeniedException", f"{DENIED} with an explicit deny in a policy"))
    assert f"denies ssm:GetParameters (or ssm:GetParameter) on {ARN} to {ROLE} outright" in str(outright)


def test_get_parameter_will_do_where_get_parameters_is_denied() -> None:
    with Ssm(refusal("AccessDeniedException", DENIED), json_answer({"Parameter": entry(NAME)})) as run:
        assert run.logged_in().fetch(TARGET).value.reveal() == "a value"
        assert [name for name, _ in run.asked] == ["GetParameters", "GetParameter"]


def test_what_get_parameter_alone_may_see_can_be_missing_too() -> None:
    for code in ("ParameterNotFound", "ParameterVersionNotFound"):
        error = failure(refusal("AccessDeniedException", DENIED), refusal(code))
        assert isinstance(error, MissingError)
        assert f"there is no parameter {NAME} in us-east-1" in str(error)


def test_the_denial_of_an_arn_names_it_as_it_is_written() -> None:
    arn = "arn:aws:ssm:eu-west-1:210987654321:parameter/shared"
    error = failure(refusal("AccessDeniedException"), target=Target(arn))
    assert f"on {arn} to {ROLE}" in str(error)


def test_one_denied_parameter_does_not_take_the_others_along() -> None:
    def respond(request: Request) -> Step:
        asked = json.loads(request.body)
        names = asked.get("Names") or [asked["Name"]]
        return refusal("AccessDeniedException", DENIED) if "/denied" in names else echo(request)

    targets = [Target(name) for name in ("/a", "/denied", "/b")]
    with Echo() as run:
        run.server._handler = respond
        store = run.logged_in()
        store.expect(targets)
        with ThreadPoolExecutor(3) as threads:
            asked = [threads.submit(store.fetch, target) for target in targets]
        assert [each.result().value.reveal() for each in (asked[0], asked[2])] == ["value of /a", "value of /b"]
        with pytest.raises(StoreError, match="access to the parameter /denied"):
            asked[1].result()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            refusal(
                "AccessDeniedException",
                "not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-east-1:123456789012:key/ab-12",
            ),
            "encrypts the parameter (arn:aws:kms:us-east-1:123456789012:key/ab-12)",
        ),
        (
            refusal("AccessDeniedException", "The ciphertext refers to a customer master key that does not exist"),
            "encrypts the parameter (arn:aws:kms:us-east-1:123456789012:key/KEY_ID)",
        ),
        (refusal("InvalidKeyId", "disabled"), "may be read, but not its KMS key used to decrypt it"),
        (refusal("ExpiredTokenException"), "the AWS session is over"),
        (refusal("UnrecognizedClientException"), "AWS does not know the credentials in us-east-1"),
        (refusal("Odd", "why"), f"AWS refused to give the parameter {NAME} in us-east-1 (account 123456789012) (Odd"),
        (json_answer({"Parameters": [], "InvalidParameters": []}), "AWS answered without a value for the parameter"),
        (json_answer({}), "is not of AWS's form"),
        (bad_json(), "is not of AWS's form"),
        (json_answer({"Parameters": [{"Name": NAME}], "InvalidParameters": []}), "is not of AWS's form"),
        (html_answer(), "web page"),
    ],
)
def test_each_refusal_and_wrong_answer_has_its_words(step: Step, words: str) -> None:
    error = failure(step)
    assert words in str(error)
    assert not isinstance(error, MissingError)


@pytest.mark.parametrize("fault", [refusal("ThrottlingException", "Rate exceeded"), answer(503), "reset", "close"])
def test_what_passes_is_tried_again(fault: Step) -> None:
    with Ssm(fault, given_parameters(entry(NAME))) as run:
        assert run.logged_in().fetch(TARGET).value.reveal() == "a value"


def test_what_fails_as_a_whole_fails_for_each_without_being_asked_apart() -> None:
    targets = [Target("/a"), Target("/b")]
    with Ssm(answer(302)) as run:
        store = run.logged_in()
        store.expect(targets)
        for target in targets:
            with pytest.raises(StoreError, match="redirect"):
                store.fetch(target)
        assert len(run.reads) == 1


def test_a_store_that_is_not_logged_in_is_a_defect() -> None:
    with Ssm() as run, pytest.raises(RuntimeError, match="not logged in"):
        run.store.fetch(TARGET)


# --- listing


def test_a_path_is_listed_over_all_pages_with_its_values() -> None:
    pages = [page(entry("/p/b"), entry("/p/a"), token="1"), page(token="2"), page(entry("/p/c"))]
    with Ssm(*pages) as run:
        store = run.logged_in()
        found = store.list(Target("/p/"), deep=False)
        assert [target.path for target in found] == ["/p/a", "/p/b", "/p/c"]
        assert [store.fetch(target).value.reveal() for target in found] == ["a value"] * 3
        first, second, _ = run.asked
    assert first[0] == "GetParametersByPath"
    assert first[1] == {"Path": "/p", "Recursive": False, "WithDecryption": True, "MaxResults": 10}
    assert second[1]["NextToken"] == "1"
    assert len(run.reads) == 3


@pytest.mark.parametrize(
    ("start", "deep", "path", "found"),
    [
        ("/p/a", False, "/p", ["/p/ab"]),
        ("/p/a", True, "/p", ["/p/a/c", "/p/ab"]),
        ("/", False, "/", ["/a"]),
        ("/", True, "/", ["/a", "/p/a", "/p/a/c", "/p/ab", "/p/b"]),
    ],
)
def test_a_listing_goes_on_after_the_text(start: str, deep: bool, path: str, found: list[str]) -> None:  # noqa: FBT001
    names = ["/p/a", "/p/ab", "/p/b", "/p/a/c", "/a"]
    with Ssm(page(*map(entry, names))) as run:
        assert [target.path for target in run.logged_in().list(Target(start), deep=deep)] == found
        assert run.asked[0][1]["Path"] == path
        assert run.asked[0][1]["Recursive"] is deep


def test_names_without_a_slash_are_described_and_then_read_in_tens() -> None:
    names = [f"imip-{number:02}" for number in range(12)]

    def respond(request: Request) -> Step:
        if operation(request) == "DescribeParameters":
            return page(*(entry(name) for name in [*names, "/imip-x", "imip-"]))
        return echo(request)

    with Echo() as run:
        run.server._handler = respond
        store = run.logged_in()
        found = store.list(Target("imip-"), deep=False)
        assert [target.path for target in found] == names
        with ThreadPoolExecutor(12) as threads:
            assert [each.version for each in threads.map(store.fetch, found)] == ["3"] * 12
        assert [name for name, _ in run.asked] == ["DescribeParameters", "GetParameters", "GetParameters"]
        assert run.asked[0][1]["ParameterFilters"] == [{"Key": "Name", "Option": "BeginsWith", "Values": ["imip-"]}]
        assert "ParameterFilters" not in run.asked[0][1] or run.asked[0][1]["MaxResults"] == 50


def test_everything_can_be_listed() -> None:
    with Ssm(page({"Name": "/a/b"}, {"Name": "c"})) as run:
        store = run.logged_in()
        assert [target.path for target in store.list(Target(""), deep=True)] == ["/a/b", "c"]
        assert [target.path for target in store.list(Target(""), deep=False)] == ["c"]
        assert "ParameterFilters" not in run.asked[0][1]


@pytest.mark.parametrize(
    ("start", "step", "words"),
    [
        (
            "/imip/",
            refusal("AccessDeniedException"),
            "Allow ssm:GetParametersByPath on arn:aws:ssm:us-east-1:123456789012:parameter/imip to " + ROLE,
        ),
        ("/imip/", refusal("AccessDeniedException", "kms:Decrypt"), "Allow kms:Decrypt to"),
        ("/imip/", refusal("ExpiredTokenException"), "the AWS session is over"),
        ("/imip/", refusal("Odd"), "AWS refused to list the parameters below /imip in us-east-1"),
        ("imip", refusal("AccessDeniedException"), f"Allow ssm:DescribeParameters on * to {ROLE}"),
        ("imip", refusal("Odd"), "AWS refused to list the parameters of us-east-1"),
        (ARN, page(), "a listing takes the start of names, not an ARN"),
        ("/imip/", json_answer({}), "is not of AWS's form"),
    ],
)
def test_a_listing_that_is_refused_names_what_is_needed(start: str, step: Step, words: str) -> None:
    with Ssm(step) as run, pytest.raises(StoreError) as caught:
        run.logged_in().list(Target(start), deep=True)
    assert words in str(caught.value)


# --- mistakes


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("imip/prod/db"), "Write aws-ssm:///imip/prod/db."),
        (Target("/imip/prod/db:3"), "Write aws-ssm:///imip/prod/db?version=3."),
        (Target("/imip//db"), "is no name of a parameter"),
        (Target("/imip/d b"), "is no name of a parameter"),
        (Target("/imip/ü"), "is no name of a parameter"),
        (Target("/" + "x" * 1011), "at most 1011 characters"),
        (Target("/a" * 16), "15 levels"),
        (Target("/a", version="1.5x"), "neither a version nor a label"),
        (Target("/a", version="a b"), "neither a version nor a label"),
        (Target("/a", region="us-east-1a"), "That is a zone; its region is us-east-1."),
        (Target("arn:aws:ssm"), "is no ARN that can be read"),
        (Target("arn:aws:s3:us-east-1:123456789012:bucket"), "is an ARN of s3, not of a parameter"),
        (Target("arn:aws:secretsmanager:us-east-1:123456789012:secret:x-abcdef"), "Secrets Manager is aws://ARN."),
        (Target("arn:aws:ssm:us-east-1:123456789012:document/x"), "not of a parameter"),
        (Target("arn:aws:ssm:nowhere:123456789012:parameter/x"), "is no region"),
        (Target("arn:aws:ssm:cn-north-1:123456789012:parameter/x"), "is not one of the partition aws"),
        (Target(ARN, region="eu-west-1"), "contradicts the ARN"),
        (Target(f"{ARN}:3"), "there is a colon"),
    ],
)
def test_mistakes_are_found_before_any_network(target: Target, words: str) -> None:
    problems = list(check(Settings({"aws-region": "us-east-1"}), [target]))
    assert [of for of, _ in problems] == [target]
    assert words in str(problems[0][1])


@pytest.mark.parametrize(
    "target",
    [
        TARGET,
        Target("db-password"),
        Target(ARN),
        Target(NAME, version="12"),
        Target(NAME, version="prod.v-1_x"),
        Target("/"),
        Target(""),
        Target("/imip/"),
        Target("/imip/prod/db-"),
        Target("/aws/service/ami"),
    ],
)
def test_what_is_right_is_let_through(target: Target) -> None:
    assert list(check(Settings({"aws-region": "us-east-1"}), [target])) == []


def test_the_settings_and_the_region_are_judged_as_for_the_other_store_of_aws() -> None:
    wrong = Settings({"aws-role-to-assume": "imip-ci"})
    (whole, first), (of, second) = check(wrong, [TARGET])
    assert (whole, of) == (None, TARGET)
    assert "is the name of a role, not its ARN" in str(first)
    assert "the region is missing" in str(second)
