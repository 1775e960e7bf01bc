"""What each written form of a reference gives, byte for byte."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imip_secrets import references
from imip_secrets.errors import ImipError, MissingError, Problem, StoreError
from imip_secrets.names import Origin
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Target
from imip_secrets.variables import check_names, expand, known_names, named, place

if TYPE_CHECKING:
    from imip_secrets.references import Line
    from imip_secrets.variables import Variable

MARK = "S3cr3t-m4rk"  # a value that no error may show
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NONE: frozenset[str] = frozenset()
# What JSON may hold, but no number: Python writes those in its own way.
LEAVES = st.recursive(
    st.none() | st.booleans() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def lines_of(*written: str) -> list[Line]:
    lines, problems = references.parse("\n".join(written))
    assert not problems
    return lines


def line_of(written: str) -> Line:
    return lines_of(written)[0]


def variables_of(
    written: str, value: str | bytes | ImipError, path: str | None = None, transform: str = "upper"
) -> list[Variable]:
    """Return what a line gives when the store gives this value, for its target or another that a listing found."""
    line = line_of(written)
    target = line.reference.target if path is None else Target(path)
    return expand(line, target, value if isinstance(value, ImipError) else Found(Secret(value)), transform)


def values_of(
    written: str, value: str | bytes | ImipError, path: str | None = None, transform: str = "upper"
) -> dict[str, bytes]:
    variables = variables_of(written, value, path, transform)
    return {variable.name: variable.value.reveal_bytes() for variable in variables}


def problems_of(written: str, value: str | bytes | ImipError, path: str | None = None) -> list[str]:
    with pytest.raises(ImipError) as caught:
        variables_of(written, value, path)
    return list(map(str, caught.value.problems))


def missing() -> MissingError:
    return MissingError("there is no such secret", "Check the path.")


def denied() -> StoreError:
    return StoreError("access is denied", "Allow it.")


# --- the forms


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ("aws://imip/production#b", '{"a":"1","b":"2"}', {"B": b"2"}),
        ("MINE = aws://imip/production#b", '{"a":"1","b":"2"}', {"MINE": b"2"}),
        ("MINE = aws://imip/production", '{ "a": 1.0 }\n', {"MINE": b'{ "a": 1.0 }\n'}),
        ("MINE = aws://imip/production", "plain", {"MINE": b"plain"}),
        ("MINE = aws://imip/production", '{"a":1,"a":2}', {"MINE": b'{"a":1,"a":2}'}),
        ("MINE = aws://imip/production", "{}", {"MINE": b"{}"}),
        ("APP_* = aws://imip/production", '{"a":"1","b":"2"}', {"APP_A": b"1", "APP_B": b"2"}),
        ("app_* = aws://imip/production", '{"a":"1","9":"2"}', {"app_A": b"1", "app_9": b"2"}),
        ("aws://imip/production", ' {"a":"1","b":"2"}', {"A": b"1", "B": b"2"}),
        ("aws://imip/production", "plain", {"PRODUCTION": b"plain"}),
        ("aws://imip/production", "", {"PRODUCTION": b""}),
        ("aws://imip/production", '["a"]', {"PRODUCTION": b'["a"]'}),
        ("aws://imip/production", '"a"', {"PRODUCTION": b'"a"'}),
        ("aws://imip/production", '{"a":', {"PRODUCTION": b'{"a":'}),
        ("aws://imip/production", b"\xff\x00", {"PRODUCTION": b"\xff\x00"}),
        ("aws://imip/production", b'{"a":"1"}\x00', {"PRODUCTION": b'{"a":"1"}\x00'}),
    ],
)
def test_each_form_gives_what_the_contract_says(written: str, value: str | bytes, expected: dict[str, bytes]) -> None:
    assert values_of(written, value) == expected


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ("aws://imip/*", '{"a":"1","b":"2"}', {"A": b"1", "B": b"2"}),
        ("aws://imip/*", "plain", {"DB_PASSWORD": b"plain"}),
        ("APP_* = aws://imip/*", '{"a":"1"}', {"APP_A": b"1"}),
        ("APP_* = aws://imip/*", "plain", {"APP_DB_PASSWORD": b"plain"}),
        ("APP_* = aws://imip/**", b"\xff", {"APP_DB_PASSWORD": b"\xff"}),
    ],
)
def test_each_item_of_a_listing_is_taken_as_if_written_alone(
    written: str, value: str | bytes, expected: dict[str, bytes]
) -> None:
    assert values_of(written, value, "imip/db-password") == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("true", "true"),
        ("null", "null"),
        ("5432", "5432"),
        ("1e400", "1e400"),
        ("-0.10", "-0.10"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('[ 1.0, "é" ]', '[1.0,"é"]'),
        ('{ "z": 1, "a": { "é": null } }', '{"z":1,"a":{"é":null}}'),
        ('"\\u00e9\\ud83d\\ude00"', "é😀"),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ('" 1 \\n"', " 1 \n"),
        ('""', ""),
    ],
)
def test_what_is_no_string_is_compact_json_and_a_string_is_never_read_again(content: str, expected: str) -> None:
    assert values_of("aws://x#K", f'{{"K": {content}}}') == {"K": expected.encode()}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.b", {"A_B": b"1"}),
        ("db-password", {"DB_PASSWORD": b"2"}),
        ("0", {"_0": b"3"}),
        ("/in/x", {"_IN_X": b"4"}),
        ("/in/y", {"_IN_Y": b"5"}),
        ("a#b", {"A_B": b"6"}),
    ],
)
def test_a_key_is_the_literal_key_and_only_then_a_pointer(key: str, expected: dict[str, bytes]) -> None:
    value = '{"a.b":1,"db-password":2,"0":3,"/in/x":4,"in":{"x":0,"y":5},"a#b":6}'
    assert values_of(f"aws://x#{key}", value) == expected


def test_an_empty_key_is_taken_by_its_pointer() -> None:
    assert values_of("NAME = aws://x#/", '{"":"1","a":"2"}') == {"NAME": b"1"}


@given(TEXT, TEXT)
def test_any_text_comes_back_exactly_as_whole_and_as_key(text: str, other: str) -> None:
    assert values_of("NAME = aws://x", text) == {"NAME": text.encode()}
    assert values_of("NAME = aws://x#k", json.dumps({"other": other, "k": text})) == {"NAME": text.encode()}
    assert values_of("A_* = aws://x", json.dumps({"k": text, "l": other})) == {
        "A_K": text.encode(),
        "A_L": other.encode(),
    }


@given(st.binary())
def test_any_bytes_come_back_exactly(data: bytes) -> None:
    assert values_of("NAME = aws://x", data) == {"NAME": data}


@given(LEAVES)
def test_any_json_leaf_comes_back_as_text_or_as_the_same_json(leaf: object) -> None:
    (value,) = values_of("NAME = aws://x#k", json.dumps({"k": leaf}, indent=1)).values()
    compact = json.dumps(leaf, ensure_ascii=False, separators=(",", ":"))
    assert value.decode() == (leaf if isinstance(leaf, str) else compact)


@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,6})?\Z"))
@example("1E400")
def test_any_number_stays_as_it_is_written(number: str) -> None:
    assert values_of("NAME = aws://x#k", f'{{"k": {number} }}') == {"NAME": number.encode()}


def test_a_variable_tells_where_it_is_from() -> None:
    line = line_of("aws://imip/a#k?x?decode=base64")
    found = Found(Secret('{"k?x?decode=base64":"1"}'), version="7")
    (variable,) = expand(line, line.reference.target, found, "upper")
    assert (variable.line, variable.target, variable.key, variable.found, variable.stored) == (
        line,
        Target("imip/a"),
        "k?x?decode=base64",
        found,
        None,
    )


# --- names


@pytest.mark.parametrize(
    ("written", "path", "name"),
    [
        ("aws://imip/my-key", None, "MY_KEY"),
        ("aws://imip/9lives", None, "_9LIVES"),
        ("aws://arn:aws:secretsmanager:us-east-1:123456789012:secret:imip/my-key-a1B2c3", None, "MY_KEY"),
        ("aws://arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:my-key-a1B2c3", None, "MY_KEY"),
        ("vault://secret/imip/prod/", None, "PROD"),
        ("P_* = aws://imip/*", "imip/9lives", "P_9LIVES"),
    ],
)
def test_a_whole_value_is_named_after_the_last_segment(written: str, path: str | None, name: str) -> None:
    assert list(values_of(written, "plain", path)) == [name]


@pytest.mark.parametrize(
    ("transform", "names"),
    [("upper", ["p_AB", "p_C_D"]), ("lower", ["p_ab", "p_c_d"]), ("none", ["p_aB", "p_C_d"])],
)
def test_the_transform_is_of_the_key_and_not_of_the_prefix(transform: str, names: list[str]) -> None:
    assert list(values_of("p_* = aws://x", '{"aB":1,"C d":2}', transform=transform)) == names


def test_the_transform_leaves_a_written_name_alone() -> None:
    assert list(values_of("miXed = aws://x#k", '{"k":1}', transform="upper")) == ["miXed"]


def test_every_key_that_gives_no_name_is_told_of() -> None:
    said = problems_of("aws://x", f'{{"ключ":"{MARK}","":1,"fine":2,"naïve":3}}')
    assert len(said) == 3
    assert [where for where in said if where.startswith("line 1, aws://x: ")] == said
    assert '"ключ"' in said[0]
    assert "empty" in said[1]
    assert '"naïve"' in said[2]
    assert MARK not in "".join(said)


def test_a_key_that_gives_no_name_is_fine_with_a_written_name() -> None:
    assert values_of("NAME = aws://x#ключ", '{"ключ":"1"}') == {"NAME": b"1"}


# --- what cannot be


@pytest.mark.parametrize(
    ("written", "value", "words"),
    [
        ("aws://x#K", MARK, 'line 1, aws://x#K: the value is no JSON object, so it has no key "K"'),
        ("aws://x#K", f'["{MARK}"]', "no JSON object"),
        ("aws://x#K", f'{{"a": "{MARK}"', "no JSON object"),
        ("aws://x#K", b"\xff", "no JSON object"),
        ("N = aws://x?optional&default=1#K", MARK, "no JSON object"),
        ("P_* = aws://x", MARK, "the value is no JSON object, so it has no keys for a prefix. Write NAME = "),
        ("P_* = aws://x", f'"{MARK}"', "no keys for a prefix"),
        ("P_* = aws://x?optional", b"\xff" + MARK.encode(), "no keys for a prefix"),
        ("aws://x", "{}", "the value cannot be used: the JSON object has no keys. Mend the secret at its store."),
        ("P_* = aws://x", "{ }", "has no keys"),
        ("aws://x#K", "{}", "has no keys"),
        ("aws://x?optional", f'{{"a":"{MARK}","a":"{MARK}"}}', 'the key "a" stands twice'),
        ("aws://x#K", f'{{"K":"{MARK}","b":{{"c":1,"c":2}}}}', 'the key "c" stands twice'),
        ("aws://imip/prod#DB_PASWORD", f'{{"DB_PASSWORD":"{MARK}"}}', 'no key "DB_PASWORD". There is DB_PASSWORD.'),
    ],
)
def test_a_value_of_the_wrong_shape_is_an_error_that_shows_nothing_of_it(
    written: str, value: str | bytes, words: str
) -> None:
    (said,) = problems_of(written, value)
    assert words in said
    assert MARK not in said


def test_an_error_keeps_nothing_of_the_value_in_its_causes() -> None:
    with pytest.raises(ImipError) as caught:
        variables_of("aws://x#K", f'{{"K":"{MARK}","K":"{MARK}"}}')
    error: BaseException | None = caught.value
    while error is not None:
        assert MARK not in repr(error)
        error = error.__context__


def test_an_error_of_a_listed_secret_names_the_secret() -> None:
    (said,) = problems_of("aws://imip/*", "{}", "imip/db")
    assert said.startswith("line 1, aws://imip/* (imip/db): the value cannot be used")


def test_foreign_text_in_a_key_is_tamed() -> None:
    (said,) = problems_of("P_* = aws://x", '{"\\n::set-env name=é::":"1"}')
    assert "\n" not in said
    assert "::" not in said.replace("aws://", "")


def test_an_error_of_the_store_is_placed_and_otherwise_as_it_is() -> None:
    assert problems_of("A = aws://x?optional&default=1", denied()) == [
        "line 1, aws://x?optional&default=1: access is denied. Allow it."
    ]


# --- optional and default


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ("aws://x?optional", missing(), {}),
        ("aws://x?optional#K", missing(), {}),
        ("NAME = aws://x?optional", missing(), {}),
        ("P_* = aws://x?optional", missing(), {}),
        ("aws://x?optional#K", '{"a":1}', {}),
        ("aws://x?optional#K", '{"K":1}', {"K": b"1"}),
        ("aws://x?optional#/K/9", '{"K":[1]}', {}),
        ("NAME = aws://x?default=d", missing(), {"NAME": b"d"}),
        ("NAME = aws://x?default=", missing(), {"NAME": b""}),
        ("NAME = aws://x?optional&default=d", missing(), {"NAME": b"d"}),
        ("aws://x?default=d#K", missing(), {"K": b"d"}),
        ("aws://x?default=d#K", '{"a":1}', {"K": b"d"}),
        ("aws://x?default=d#K", '{"K":""}', {"K": b""}),
        ("aws://x?default=d#K", '{"K":null}', {"K": b"null"}),
        ("aws://imip/x?default=d", missing(), {"X": b"d"}),
        ('aws://imip/x?default={"a":"1","b":2}', missing(), {"A": b"1", "B": b"2"}),
        ('aws://imip/x?default={"a":"1"}#K', missing(), {"K": b'{"a":"1"}'}),
        ('P_* = aws://imip/x?default={"a":"1"}', missing(), {"P_A": b"1"}),
    ],
)
def test_optional_and_default_stand_in_for_what_is_missing(
    written: str, value: str | ImipError, expected: dict[str, bytes]
) -> None:
    assert values_of(written, value) == expected


@pytest.mark.parametrize(
    ("default", "text"),
    [("%26%23%25", "&#%"), ("aGk=", "aGk="), ("%20x%20", " x "), ("é", "é"), ("a+b", "a+b"), ("%0A", "\n")],
)
@pytest.mark.parametrize("option", ["decode", "encode"])
def test_a_default_is_taken_as_it_is(default: str, text: str, option: str) -> None:
    for value in (missing(), '{"a":1}'):
        (variable,) = variables_of(f"N = aws://x?{option}=base64&default={default}#K", value)
        assert variable.value.reveal() == text
        assert variable.found is None
        assert variable.stored is None


@pytest.mark.parametrize("option", ["optional", "default=d"])
@pytest.mark.parametrize("form", ["N = aws://x?{}", "aws://x?{}", "aws://x?{}#K", "P_* = aws://x?{}"])
def test_neither_covers_a_denied_access(form: str, option: str) -> None:
    assert "access is denied" in problems_of(form.format(option), denied())[0]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("P_* = aws://x?default=d", "the default is no JSON object"),
        (
            'P_* = aws://x?default={"a":1,"a":2}',
            'the default cannot be used: the key "a" stands twice in one object. Mend ',
        ),
    ],
)
def test_a_default_of_the_wrong_shape_is_not_blamed_on_the_store(written: str, words: str) -> None:
    (said,) = problems_of(written, missing())
    assert words in said
    assert "at its store" not in said


@pytest.mark.parametrize("form", ["N = aws://x", "aws://x", "aws://x#K", "P_* = aws://x", "aws://x?decode=base64"])
def test_without_them_what_is_missing_is_an_error(form: str) -> None:
    assert problems_of(form, missing()) == [
        f"line 1, {form.rpartition(' ')[2]}: there is no such secret. Check the path."
    ]


# --- decode and encode


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("aGk=", b"hi"),
        ("aGk", b"hi"),
        ("aG\nk\t=\r\n", b"hi"),
        (" + / 8 = ", b"\xfb\xff"),
        ("-_8=", b"\xfb\xff"),
        ("-_8", b"\xfb\xff"),
        ("+/8", b"\xfb\xff"),
        ("AA==", b"\0"),
        ("AA", b"\0"),
        ("", b""),
        (" \n", b""),
        ("aGVsbG8h", b"hello!"),
    ],
)
def test_base64_is_decoded_in_all_its_ways(text: str, data: bytes) -> None:
    (variable,) = variables_of("N = aws://x?decode=base64", text)
    assert variable.value == Secret(data)
    assert variable.stored == Secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "aGVsb",
        "aGk==",
        "aG=k",
        "=",
        "==",
        "====",
        "AA=",
        "AAA==",
        "AAAA=",
        "AAAA==",
        "A===",
        "aGk=!",
        "a.b-",
        "aGké",
        "aG\u00a0k",
    ],
)
def test_what_is_no_base64_is_an_error_without_the_value(text: str) -> None:
    (said,) = problems_of("N = aws://x?decode=base64", text)
    assert said == (
        "line 1, aws://x?decode=base64: decode=base64, but the value is no base64. "
        "Mend the secret, or leave decode=base64 out."
    )


def test_what_is_no_base64_is_an_error_for_bytes_too() -> None:
    assert "no base64" in problems_of("N = aws://x?decode=base64", b"\xff\xff")[0]


def test_every_key_that_is_no_base64_is_named() -> None:
    said = problems_of("aws://imip/*?decode=base64", f'{{"a":"!{MARK}","b":"aGk=","c":"?{MARK}"}}', "imip/x")
    assert len(said) == 2
    assert said[0].startswith(
        'line 1, aws://imip/*?decode=base64 (imip/x): decode=base64, but the value of the key "a"'
    )
    assert 'key "c"' in said[1]
    assert MARK not in "".join(said)


@given(st.binary(), st.booleans(), st.booleans(), st.integers(0, 100))
def test_decode_undoes_every_way_to_write_base64(data: bytes, is_url_safe: bool, is_padded: bool, cut: int) -> None:  # noqa: FBT001 - made by Hypothesis
    text = (base64.urlsafe_b64encode if is_url_safe else base64.b64encode)(data).decode()
    text = text if is_padded else text.rstrip("=")
    text = text[:cut] + " \r\n\t" + text[cut:]
    assert values_of("N = aws://x?decode=base64", text) == {"N": data}
    assert values_of("N = aws://x?decode=base64#k", json.dumps({"k": text})) == {"N": data}


@given(st.binary())
def test_encode_is_undone_by_any_reader_of_base64(data: bytes) -> None:
    (text,) = values_of("N = aws://x?encode=base64", data).values()
    assert base64.b64decode(text, validate=True) == data
    assert values_of("N = aws://x?decode=base64", text) == {"N": data}


def test_encode_and_decode_are_for_every_key() -> None:
    assert values_of("aws://x?encode=base64", '{"a":"hi","b":1}') == {"A": b"aGk=", "B": b"MQ=="}
    assert values_of("P_* = aws://x?decode=base64", '{"a":"aGk","b":"MQ=="}') == {"P_A": b"hi", "P_B": b"1"}


def test_encode_leaves_no_other_stored_text() -> None:
    (variable,) = variables_of("N = aws://x?encode=base64", "hi")
    assert variable.stored is None


def test_flags_stay_with_the_line() -> None:
    (first,) = variables_of("N = aws://x?as=file&mask=off", b"\xff")
    (second,) = variables_of("N = aws://x?mask=on", "1")
    assert (first.line.reference.as_file, first.line.reference.mask) == (True, False)
    assert (second.line.reference.as_file, second.line.reference.mask) == (False, True)
    assert first.value == Secret(b"\xff")


# --- names that are known before, and their check


def test_written_names_and_keys_are_known_before_anything_is_contacted() -> None:
    lines = lines_of("A = aws://x", "aws://x#b-c", "P_* = aws://x", "aws://x", "aws://x/*", "D = aws://x#e")
    known, problems = known_names(lines, "lower")
    assert [(each.name, each.origin) for each in known] == [
        ("A", Origin.WRITTEN),
        ("b_c", Origin.MADE),
        ("D", Origin.WRITTEN),
    ]
    assert problems == []


def test_a_key_that_can_give_no_name_is_known_before() -> None:
    known, problems = known_names(lines_of("aws://x#ключ", "aws://x#ok"), "upper")
    assert [each.name for each in known] == ["OK"]
    assert [problem.where for problem in problems] == ["line 1, aws://x#ключ"]


def checked(*written: str, allowed: frozenset[str] = NONE) -> list[Problem]:
    return list(check_names(known_names(lines_of(*written), "upper")[0], allowed))


def found_names(written: str, value: str, path: str | None = None, allowed: frozenset[str] = NONE) -> list[Problem]:
    return list(check_names(map(named, variables_of(written, value, path)), allowed))


@pytest.mark.parametrize(
    "written",
    [
        ("A = aws://x#k", "A = aws://x#k"),
        ("aws://x#k", "aws://x#k"),
        ("A = aws://x", "  A=aws://%78  # the same"),
        ("A = aws://x", "B = aws://x"),
    ],
)
def test_the_same_line_twice_is_fine(written: tuple[str, ...]) -> None:
    assert checked(*written) == []


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("A = aws://x#k", "A = aws://y#k", "A is"),
        ("A = aws://x#k", "A = aws://x#l", "A is"),
        ("A = aws://x#k", "A = aws://x?mask=on#k", "A is"),
        ("A = aws://x#k", "aws://x#a", "A is"),
        ("aws://x#a.b", "aws://x#a-b", "A_B is"),
        ("a = aws://x#k", "A = aws://x#k", "A (or a, the same on Windows) is"),
        ("Name = aws://x#k", "NAME = aws://y#k", "NAME (or Name, the same on Windows) is"),
    ],
)
def test_one_name_for_two_things_is_an_error_that_names_both(one: str, other: str, both: str) -> None:
    (problem,) = checked("# first", one, other)
    first, second = one.rpartition(" ")[2], other.rpartition(" ")[2]
    assert str(problem) == (
        f"line 3, {second}: {both} given by line 2, {first} as well. Give one of them another NAME, or a prefix."
    )


def test_two_keys_of_one_value_with_one_name_are_both_named() -> None:
    (problem,) = found_names("aws://x", '{"a.b":1,"c":2,"a-b":3}')
    assert str(problem) == (
        'line 1, aws://x (key "a-b"): A_B is given by line 1, aws://x (key "a.b") as well. '
        "Take the keys one by one: NAME = reference#key."
    )


def test_one_key_in_two_listed_secrets_names_both_secrets() -> None:
    line = line_of("aws://imip/*")
    found = Found(Secret('{"k":1}'))
    variables = [each for path in ("imip/a", "imip/b") for each in expand(line, Target(path), found, "upper")]
    (problem,) = check_names(map(named, variables), NONE)
    assert problem.where == 'line 1, aws://imip/* (imip/b, key "k")'
    assert '(imip/a, key "k")' in problem.what


def test_the_same_variables_of_the_same_whole_reference_are_fine() -> None:
    variables = [
        each
        for line in lines_of("aws://x", "aws://x")
        for each in expand(line, line.reference.target, Found(Secret('{"k":1}')), "upper")
    ]
    assert list(check_names(map(named, variables), NONE)) == []


def test_one_key_alone_and_with_all_others_are_two_references() -> None:
    variables = [
        each
        for line in lines_of("aws://x", "aws://x#k")
        for each in expand(line, line.reference.target, Found(Secret('{"k":1}')), "upper")
    ]
    (problem,) = check_names(map(named, variables), NONE)
    assert problem.where == "line 2, aws://x#k"


@pytest.mark.parametrize(
    ("written", "value", "path"),
    [
        ("aws://x", '{"LD_PRELOAD":1}', None),
        ("aws://x", '{"path":1}', None),
        ("aws://x#Path", '{"Path":1}', None),
        ("LD_* = aws://x", '{"preload":1}', None),
        ("GIT_* = aws://x", '{"ssh_command":1}', None),
        ("aws://imip/LD_PRELOAD", "plain", None),
        ("aws://imip/*", "plain", "imip/http_proxy"),
        ("P* = aws://imip/*", "plain", "imip/ath"),
        ("GITHUB_* = aws://x", '{"env":1}', None),
        ("PATH = aws://x", "plain", None),
    ],
)
def test_a_name_that_changes_programs_is_refused_wherever_it_comes_from(
    written: str, value: str, path: str | None
) -> None:
    (problem,) = found_names(written, value, path)
    assert "is refused" in problem.what
    assert problem.where.startswith(f"line 1, {written.rpartition(' ')[2]}")


def test_a_refusal_names_the_key() -> None:
    (problem,) = found_names("aws://x", '{"good":1,"LD_PRELOAD":1}')
    assert problem.where == 'line 1, aws://x (key "LD_PRELOAD")'


@pytest.mark.parametrize(
    ("written", "value", "allowed", "count"),
    [
        ("aws://x", '{"LD_PRELOAD":1}', "LD_PRELOAD", 0),
        ("aws://x", '{"ld_preload":1,"PATH":1}', "LD_PRELOAD", 1),
        ("PATH = aws://x", "plain", "PATH", 0),
        ("aws://x", '{"GITHUB_ENV":1}', "GITHUB_ENV", 1),
        ("HTTP_PROXY = aws://x", "plain", "", 0),
        ("aws://x", '{"HTTP_PROXY":1}', "", 1),
        ("aws://x", '{"AWS_REGION":1,"VAULT_TOKEN":2,"GIT_TOKEN":3}', "", 0),
    ],
)
def test_refusals_are_lifted_by_name(written: str, value: str, allowed: str, count: int) -> None:
    assert len(found_names(written, value, allowed=frozenset(filter(None, [allowed])))) == count


def test_every_refused_and_every_doubled_name_is_told_of() -> None:
    said = found_names("aws://x", '{"PATH":1,"path":2,"LD_PRELOAD":3,"a":4,"A":5}')
    assert len(said) == 5


def test_a_place_is_the_line_or_the_item_of_a_listing() -> None:
    line = line_of("aws://imip/*")
    assert place(line, line.reference.target) == "line 1, aws://imip/*"
    assert place(line, Target("imip/\na")) == "line 1, aws://imip/* (imip/ a)"
