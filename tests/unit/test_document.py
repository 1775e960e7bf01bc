from __future__ import annotations

import contextlib
import json
import time
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.document import (
    MAX_DEPTH,
    DocumentError,
    Json,
    NoSuchKeyError,
    NotJsonError,
    Number,
    as_object,
    compact,
    parse,
    pick,
    text_of,
)

CANARY = "hunter2-canary"


def nested(depth: int, inner: str = "1") -> str:
    return '{"a":' * depth + inner + "}" * depth


def missing(document: str, key: str) -> NoSuchKeyError:
    found = as_object(document)
    assert found is not None
    with pytest.raises(NoSuchKeyError) as caught:
        pick(found, key)
    return caught.value


@pytest.mark.parametrize(
    "number",
    ["0", "-0", "1.10", "1e400", "1E+2", "-0.0", "12345678901234567890", "1.0000000000000000000001", "9" * 9000],
)
def test_a_number_keeps_the_text_it_is_written_with(number: str) -> None:
    value = parse(f" {number} ")
    assert value == Number(number)
    assert compact(value) == text_of(value) == number
    assert compact(parse(f'{{"n":[{number}]}}')) == f'{{"n":[{number}]}}'


def test_a_number_shows_nothing_by_accident() -> None:
    assert "5432" not in repr(Number("5432"))
    assert "5432" not in f"{[Number('5432')]}"


def test_a_string_is_returned_as_it_is_and_never_parsed_again() -> None:
    document = as_object(r'{"a":"{\"b\": 1}","c":"  é\n😀 "}')
    assert document is not None
    assert text_of(document["a"]) == '{"b": 1}'
    assert text_of(document["c"]) == "  é\n😀 "


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ("5432", "5432"),
        ("[]", "[]"),
        ("{}", "{}"),
        ('""', ""),
        ('[1, "a", null, true, {"z": 1.0, "b": [ ]}]', '[1,"a",null,true,{"z":1.0,"b":[]}]'),
        (r'{"z":"\u00e9\"\n","a\tb":"\/"}', '{"z":"é\\"\\n","a\\tb":"/"}'),
    ],
)
def test_what_is_no_string_becomes_compact_json(written: str, text: str) -> None:
    assert text_of(parse(written)) == text


def test_a_string_inside_compact_json_is_quoted() -> None:
    assert compact("a") == '"a"'


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '{"a":NaN}', "[1,Infinity]"])
def test_numbers_that_json_does_not_know_are_refused(text: str) -> None:
    with pytest.raises(NotJsonError, match="NaN and Infinity"):
        parse(text)
    assert as_object(text) is None


@pytest.mark.parametrize(
    "text", ["", " ", "plain", "{", "{a}", '{"a":1} x', "{'a':1}", '{"a":01}', '\ufeff{"a":1}', '{"a":1,}', "\xa0{}"]
)
def test_text_that_is_not_json_is_no_object_but_just_text(text: str) -> None:
    assert as_object(text) is None
    with pytest.raises(NotJsonError, match=r"^it is not JSON: see line 1, column \d+$"):
        parse(text)


def test_the_error_says_at_which_line_and_column_the_text_stops_being_json() -> None:
    with pytest.raises(NotJsonError, match="line 3, column 8"):
        parse('{\n "a": 1,\n "b" : oops}')


@pytest.mark.parametrize("text", ["[1]", '"a"', "1", "null", "true", "[" * 100_000])
def test_another_json_type_is_no_object(text: str) -> None:
    assert as_object(text) is None


def test_an_object_may_stand_in_white_space() -> None:
    assert as_object('\r\n\t {"a":"b"} \n') == {"a": "b"}


@pytest.mark.parametrize(
    "text", ['{"a":1,"b":2,"a":1}', '{"x":{"a":1,"a":2}}', '{"x":[{"a":1,"a":2}]}', r'{"a":1,"\u0061":2}']
)
def test_a_key_that_stands_twice_is_refused_and_named(text: str) -> None:
    for read in (parse, as_object):
        with pytest.raises(DocumentError, match='the key "a" stands twice in one object'):
            read(text)


def test_the_same_key_in_two_objects_is_fine() -> None:
    assert as_object('{"a":{"b":1},"c":{"b":2}}') == {"a": {"b": Number("1")}, "c": {"b": Number("2")}}


def test_a_key_that_stands_twice_in_text_that_is_not_json_does_not_make_it_an_object() -> None:
    assert as_object('{"x":{"a":1,"a":2}') is None


def test_a_repeated_key_is_tamed_in_the_error() -> None:
    key = "::stop-commands::x##[error]" + "k" * 500
    with pytest.raises(DocumentError) as caught:
        parse(json.dumps({"z": 1})[:-1] + f', "{key}": 1, "{key}": 2}}')
    assert "::" not in str(caught.value)
    assert "##[" not in str(caught.value)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("text", ["{}", " { } "])
def test_an_object_without_keys_is_refused(text: str) -> None:
    with pytest.raises(DocumentError, match="has no keys"):
        as_object(text)


def test_an_inner_object_may_be_without_keys() -> None:
    assert as_object('{"a":{}}') == {"a": {}}


@pytest.mark.parametrize(
    "text", [r'{"a":"\ud800"}', r'{"\udfff":1}', r'{"a":[{"b":"x\udc00\ud800"}]}', '{"a":"\ud83d"}', r'"\ud800x"']
)
def test_half_a_character_is_refused(text: str) -> None:
    with pytest.raises(DocumentError, match="half a character"):
        parse(text)


def test_a_pair_of_surrogate_escapes_is_a_character() -> None:
    assert parse(r'"\ud83d\ude00"') == "😀"


def test_depth_is_bounded() -> None:
    assert compact(parse(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 500, 100_000):
        for text in (nested(depth), "[" * depth + "]" * depth):
            with pytest.raises(DocumentError, match="more than 64 deep"):
                parse(text)
        with pytest.raises(DocumentError, match="more than 64 deep"):
            as_object(nested(depth))


@pytest.mark.parametrize(
    "text",
    [
        nested(200_000),
        "[" + "0," * 400_000 + "0]",
        '{"a":' + "9" * 1_000_000 + "}",
        '{"a":"' + "\\u0061" * 160_000 + '"}',
        "{" + ",".join(f'"{n}":1' for n in range(80_000)) + ',"0":2}',
        '{"' + "k" * 1_000_000 + '":1,"' + "k" * 1_000_000 + '":1}',
    ],
    ids=["deep", "wide", "long number", "escapes", "many keys", "long keys"],
)
def test_a_bomb_takes_no_longer_than_a_few_seconds(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(DocumentError):
        compact(parse(text))
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "text",
    [
        f'{{"p": {CANARY}}}',
        f'{{"p": "{CANARY}\n"}}',
        f'{{"p": "{CANARY}", "n": NaN}}',
        f'{{"p": "{CANARY}", "p": "{CANARY}"}}',
        f'{{"p": "{CANARY}\\ud800"}}',
        f'{{"p": "{CANARY}\\q"}}',
        nested(100, f'"{CANARY}"'),
        nested(100_000, f'"{CANARY}"'),
    ],
)
def test_no_part_of_a_value_is_in_an_error_nor_in_what_it_carries(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(text)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert CANARY not in repr(error)
    assert CANARY not in "".join(traceback.format_exception(error)).replace(text, "")


def test_the_literal_key_comes_before_the_pointer() -> None:
    document = as_object('{"a.b":"1","db-password":"2","0":"3","/x":"4","x":"5","":"6","/":"7"}')
    assert document is not None
    assert [pick(document, key) for key in ("a.b", "db-password", "0", "/x", "", "/")] == ["1", "2", "3", "4", "6", "7"]


@pytest.mark.parametrize(
    ("pointer", "text"),
    [
        ("/foo", '["bar","baz"]'),
        ("/foo/0", "bar"),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ('/k"l', "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
        ("/deep/list/1/x", "9"),
        ("/~01", "10"),
        ("/deep/", "11"),
    ],
)
def test_a_json_pointer_finds_what_rfc_6901_says(pointer: str, text: str) -> None:
    document = as_object(
        r"""{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,
        "deep":{"list":[0,{"x":9}],"":11},"~1":10}"""
    )
    assert document is not None
    assert text_of(pick(document, pointer)) == text


@pytest.mark.parametrize(
    "pointer",
    [
        *(
            "/l/2",
            "/l/-",
            "/l/-1",
            "/l/00",
            "/l/01",
            "/l/+1",
            "/l/ 1",
            "/l/1e0",
            "/l/²",
            "/l/٣",
            "/l/" + "9" * 9999,
            "/l/",
        ),
        *("/s/x", "/s/0", "/n/x", "/a~", "/a~2", "x", "", "l/0", "#/l/0", "/l/1/0"),
    ],
)
def test_a_pointer_to_nothing_is_a_missing_key(pointer: str) -> None:
    document: dict[str, Json] = {"l": ["a", "b"], "s": "text", "n": None, "a~": "x"}
    with pytest.raises(NoSuchKeyError):
        pick(document, pointer)


def test_a_missing_key_shows_the_keys_that_there_are() -> None:
    error = missing('{"SECRET_KEY":"a","x y":"b","MONGO_URI":"c"}', "MONGO_URL")
    assert str(error) == 'there is no key "MONGO_URL". There are MONGO_URI, SECRET_KEY, "x y".'
    assert error.keys == ("SECRET_KEY", "x y", "MONGO_URI")


def test_a_key_in_another_case_is_shown_first() -> None:
    assert missing('{"A":1,"B":2,"PASSWORD":3}', "password").remedy == "There are PASSWORD, A, B."


def test_one_key_alone_is_shown_as_one() -> None:
    assert missing('{"A":1}', "b").remedy == "There is A."


def test_a_missing_pointer_shows_the_keys_where_it_broke_off() -> None:
    document = '{"db":{"port":1,"password":2},"l":[1],"s":"text"}'
    assert missing(document, "/db/pasword").remedy == "At /db there are password, port."
    assert missing(document, "/bd/x").remedy == "There are db, l, s."
    assert missing(document, "/l/1").remedy == "At /l there is nothing by that name."
    assert missing(document, "/s/x").remedy == "At /s there is nothing by that name."


def test_at_most_twenty_keys_are_shown() -> None:
    document = json.dumps({f"key{n}": n for n in range(100)})
    remedy = missing(document, "other").remedy
    assert remedy.endswith("key19 and 80 more.")
    assert missing(json.dumps({f"key{n}": n for n in range(20)}), "other").remedy.endswith("key19.")


def test_foreign_keys_are_tamed_and_cut() -> None:
    text = str(missing(json.dumps({"::set-env::\n##[x]": 1, "\u202eevil": 2, "k" * 70_000: 3}), "::a::" * 9999))
    assert "::" not in text
    assert "##[" not in text
    assert "\u202e" not in text
    assert "\n" not in text
    assert len(text) < 400


def test_an_error_about_many_long_keys_comes_at_once() -> None:
    error = NoSuchKeyError("x" * 60_000, [f"{n}{'x' * 1000}" for n in range(20_000)])
    start = time.process_time()
    assert str(error)
    assert time.process_time() - start < 3


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.integers()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
).filter(lambda value: "Infinity" not in json.dumps(value))


@given(JSON)
def test_what_is_read_and_written_again_is_the_same_document(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert compact(parse(text)) == text
    assert compact(parse(json.dumps(value, indent=3))) == text
    assert compact(parse(compact(parse(text)))) == text


@given(st.text() | st.text('{}[]":,\\ud8aN1 .-e\n').map("{{{}}}".format))
def test_any_text_is_an_object_or_text_or_refused(text: str) -> None:
    try:
        value = as_object(text)
    except DocumentError:
        return
    if value is None:
        with pytest.raises((NotJsonError, AttributeError)):
            parse(text).keys()  # type: ignore[union-attr]  # what is no object has none
    else:
        assert list(value) == list(json.loads(text))


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(max_size=3), min_size=1))
def test_every_key_of_an_object_can_be_picked_by_name_and_by_pointer(value: dict[str, str]) -> None:
    document = as_object(json.dumps(value))
    assert document is not None
    for key, text in value.items():
        assert pick(document, key) == text
        pointer = "/" + key.replace("~", "~0").replace("/", "~1")
        if pointer not in value:
            assert pick(document, pointer) == text
