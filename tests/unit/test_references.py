from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imip_secrets.references import Line, Reference, parse
from imip_secrets.stores.base import Target


def one(text: str) -> Line:
    lines, problems = parse(text)
    assert not problems, [str(problem) for problem in problems]
    (line,) = lines
    return line


def mistake(text: str) -> str:
    lines, problems = parse(text)
    assert not lines
    (problem,) = problems
    return str(problem)


def test_a_plain_reference_is_a_target() -> None:
    assert one("aws://imip/production") == Line(1, "aws://imip/production", Reference("aws", Target("imip/production")))


def test_a_name_a_key_and_the_space_round_the_equals_sign() -> None:
    for text in ("DB=aws://imip#MONGO_URI", "  DB  =  aws://imip#MONGO_URI  ", "DB= aws://imip#MONGO_URI"):
        line = one(text)
        assert (line.name, line.prefix, line.reference.key) == ("DB", None, "MONGO_URI")


def test_a_name_that_ends_in_a_star_is_a_prefix() -> None:
    line = one("APP_* = vault://secret/imip")
    assert (line.name, line.prefix) == (None, "APP_")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_and_comments_are_left_out_and_lines_keep_their_numbers(end: str) -> None:
    text = end.join(["# first", "", "  # second", "aws://a # third", "\taws://b#k\t#fourth", "   "])
    lines, problems = parse(text)
    assert not problems
    assert [(line.number, line.reference.target.path, line.reference.key) for line in lines] == [
        (4, "a", None),
        (5, "b", "k"),
    ]


def test_a_byte_order_mark_before_the_first_line_is_no_part_of_it() -> None:
    assert one("\ufeffaws://a").reference.target.path == "a"


def test_the_key_stands_as_it_is_written() -> None:
    assert one("aws://a#%41 b#c?d&e=f").reference.key == "%41 b#c?d&e=f"


def test_the_path_and_the_values_of_options_are_percent_decoded() -> None:
    reference = one("aws://a%20b%23?default=x%26y%23z%25").reference
    assert (reference.target.path, reference.default) == ("a b#", "x&y#z%")


def test_an_empty_default_is_a_default() -> None:
    assert one("aws://a?default=").reference.default == ""


def test_every_option_is_read() -> None:
    reference = one("X = aws://a?stage=AWSPREVIOUS&region=eu-west-1&optional&decode=base64&as=file&mask=on").reference
    assert reference == Reference(
        "aws",
        Target("a", stage="AWSPREVIOUS", region="eu-west-1"),
        optional=True,
        decode=True,
        as_file=True,
        mask=True,
    )
    reference = one("vault://s/a?version=3&namespace=team/a&optional=true&encode=base64&mask=off").reference
    assert reference == Reference(
        "vault", Target("s/a", version="3", namespace="team/a"), optional=True, encode=True, mask=False
    )


def test_what_is_sent_to_vault_is_one_text_however_it_is_written() -> None:
    written = 'vault://pki/issue/imip?body={"ttl": "1h", "common_name":"a%26b%23c", "n": [1.50, {"z":1,"a":"ü"}]}'
    target = one(written + "#certificate").reference.target
    assert target.body == '{"common_name":"a&b#c","n":[1.50,{"a":"ü","z":1}],"ttl":"1h"}'
    other = 'vault://pki/issue/imip?body={"n":[1.50,{"a":"ü","z":1}],"common_name":"a%26b%23c","ttl":"1h"}'
    assert one(other + "#private_key").reference.target == target
    assert one("vault://transit/random/32?body={}").reference.target.body == "{}"


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.integers() | st.none(), st.lists, max_leaves=5)))
def test_any_object_is_sent_as_it_is(content: dict[str, object]) -> None:
    body = one(f"vault://pki/issue/imip?body={quote(json.dumps(content))}").reference.target.body
    assert json.loads(body or "") == content


@pytest.mark.parametrize(
    ("text", "path", "listing"),
    [
        ("aws://imip/*", "imip/", "*"),
        ("aws://imip-**", "imip-", "**"),
        ("vault://secret/**", "secret/", "**"),
        ("aws://*", "", "*"),
        ("aws://a%2A", "a*", ""),
        ("aws://a%2A*", "a*", "*"),
    ],
)
def test_a_star_at_the_end_is_a_listing(text: str, path: str, listing: str) -> None:
    reference = one(text).reference
    assert (reference.target.path, reference.listing) == (path, listing)


def test_leading_slashes_mean_nothing_to_vault_and_something_to_others() -> None:
    assert one("vault:///secret/a").reference == one("vault://secret/a").reference
    assert one("aws:///secret/a").reference.target.path == "/secret/a"


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("MY-NAME = aws://x", "'MY-NAME' is no name for a variable", "Write MY_NAME = aws://x."),
        ("1A = aws://x", "'1A' is no name", "Write _1A = aws://x."),
        ("X*Y = aws://x", "'X*Y' is no name", "Write X_Y = aws://x."),
        ("X-* = aws://x", "'X-' is no name", "Write X_* = aws://x."),
        ("NÄME = aws://x", "is no name", "Write N_ME = aws://x."),
        ("= aws://x", "'' is no name", "Write NAME = aws://x."),
        ("vault://p/x?body=a", "the option body cannot be sent: it is not JSON", 'Write it like body={"common_name":'),
        ("vault://p/x?body=[]", "the option body is no JSON object", 'Write it like body={"common_name":'),
        ('vault://p/x?body={"a":1,"a":2}', 'cannot be sent: the key "a" stands twice', "%26 for &"),
        ("vault://p/x?body=", "the option body has no value", "Write body=..."),
        ("vault://p/*?body={}", "the option body means one secret, not a listing", "Write vault://p/*."),
        ("aws://p/x?body={}", "'body' is no option of aws://", "The options are"),
        ("X = aws://a/*", "one name cannot hold", "Write X_* = aws://a/*."),
        ("X_* = aws://a#b", "a prefix takes every key", "Write X_NAME = aws://a#b."),
        ("awss://x/y", "'awss' is no store", "Write it like aws://x/y."),
        ("hashivault://x/y", "is no store", "Write it like vault://x/y."),
        ("imip/production", "there is no scheme", "Write it like aws://imip/production."),
        ("vault:/x/y", "there is no scheme", "Write it like vault://x/y."),
        ("aws//imip/production", "there is no scheme", "Write it like aws://imip/production."),
        ("vault/secret/x#k", "there is no scheme", "Write it like vault://secret/x#k."),
        ("* = aws://x", "'' is no name", "Write NAME_* = aws://x."),
        ("X = y", "there is no scheme", "Write it like aws://y."),
        ("A: vault://s/x#k", "'A: vault' is no store", "Write it like vault://s/x#k."),
        ('"vault://s/x"', "is no store", "Write it like vault://s/x."),
        ("- vault://s/x", "is no store", "Write it like vault://s/x."),
        ("X =", "there is no scheme", "Write it like aws://imip/production."),
        (
            "aws://a aws://b",
            "two references on one line",
            "Write one reference per line: aws://a, and on the next aws://b.",
        ),
        ("A=aws://a B = aws://b c://d", "two references", "line: aws://a, and on the next B = aws://b c://d."),
        ("aws://", "the path is empty", "Write it like aws://imip/production#DATABASE_URL."),
        ("aws://x#", "there is no key after the #", "or leave the # out."),
        ("aws://x?versoin=1", "'versoin' is no option of aws://", "Did you mean version? Write aws://x?version=1."),
        ("aws://x?optoinal#k", "'optoinal' is no option", "Did you mean optional? Write aws://x?optional#k."),
        (
            "aws://x?zzz=1",
            "'zzz' is no option of aws://",
            "Leave it out: aws://x. The options are as, decode, default,",
        ),
        ("aws://x?zzz&optional#k?", "'zzz' is no option", "Leave it out: aws://x?optional#k?. The options are"),
        ("aws://x?namespace=a", "'namespace' is no option of aws://", "Leave it out: aws://x. The options are"),
        ("vault://s/x?stage=a", "'stage' is no option of vault://", "Leave it out: vault://s/x. The options are"),
        ("aws://x?stage=a&stage=b", "the option stage is given twice", "Leave one of them out: aws://x?stage=b."),
        ("aws://x?optional&as=file&optional", "given twice", "Leave one of them out: aws://x?optional&as=file."),
        ("aws://x?version=", "the option version has no value", "Write version=..., or leave it out: aws://x."),
        ("aws://x?version", "the option version has no value", "Write version=..., or leave it out: aws://x."),
        ("aws://x?default", "the option default has no value", "Write default=..., or leave it out: aws://x."),
        ("aws://x?optional=yes", "'optional=yes' is no value", "Write optional."),
        ("aws://x?optional=", "'optional=' is no value", "Write optional."),
        ("aws://x?mask=maybe", "'mask=maybe' is no value", "Write mask=on or mask=off."),
        ("aws://x?decode", "'decode' is no value", "Write decode=base64."),
        ("aws://x?as=env", "'as=env' is no value", "Write as=file."),
        ("aws://x?decode=base64&encode=base64", "decode and encode undo each other", "out: aws://x?decode=base64."),
        ("aws://a*b", "* and ** stand only at the end of a path", "Write aws://a*, or %2A"),
        ("aws://a***", "* and ** stand only at the end of a path", "Write aws://a*, or %2A"),
        ("aws://a/*#k", "a listing takes whole secrets", "Write aws://a/*."),
        ("aws://a/*?version=1", "the option version means one secret", "Write aws://a/*."),
        ("aws://a/*?default=1", "the option default means one secret", "Write aws://a/*."),
        ("aws://a%zz", "the % in the path is no escape", "Write %25 for a percent sign."),
        ("aws://a%", "the % in the path is no escape", ""),
        ("aws://a?default=%4", "the % in the option default is no escape", ""),
        ("aws://a%ff", "the escapes in the path are not UTF-8", ""),
        ("aws://a%00b", "there is a control character in the path", "Take it out: ab."),
        ("aws://a\x1b[31m", "there is a control character in the path", ""),
    ],
)
def test_a_mistake_is_named_and_shown_right(text: str, what: str, remedy: str) -> None:
    shown = mistake(text)
    assert shown.startswith("line 1, ")
    assert what in shown
    assert remedy in shown


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n  # comments"])
def test_nothing_but_comments_is_a_mistake(text: str) -> None:
    assert mistake(text).startswith("input secrets: it names no secret. Write one reference per line")


def test_every_mistake_of_every_line_is_reported_at_once_beside_the_lines_that_are_right() -> None:
    lines, problems = parse("aws://good\nbad\naws://x?nope=1\nX = vault://s/a#k\n9 = aws://y")
    assert [line.number for line in lines] == [1, 4]
    assert [problem.where.partition(",")[0] for problem in problems] == ["line 2", "line 3", "line 5"]


def test_a_line_says_where_it_is_in_one_harmless_line() -> None:
    assert one("aws://a::b##[c]").where == "line 1, aws://a: :b## [c]"


@given(st.text())
def test_any_text_is_read_or_refused_without_a_crash(text: str) -> None:
    lines, problems = parse(text)
    assert lines or problems
    assert all("\n" not in str(problem) for problem in problems)


@given(
    path=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1),
    default=st.text(st.characters(exclude_categories=["Cs"])),
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
)
def test_what_is_percent_encoded_comes_back(path: str, default: str, key: str) -> None:
    reference = one(f"aws://{quote(path, safe='')}?default={quote(default, safe='')}#{key}").reference
    assert (reference.target.path, reference.default, reference.key) == (path, default, key)


def test_a_version_at_the_end_of_an_azure_path_is_the_option_version() -> None:
    version = "c14dfa0df0db4bca9541023f71d83847"
    target = Target("imip-vault/SECRET-KEY", version=version)
    assert one(f"azure://imip-vault/SECRET-KEY/{version}").reference.target == target
    assert one(f"azure://imip-vault/SECRET-KEY?version={version}").reference.target == target
    assert one(f"azure://imip-vault/SECRET-KEY/{version}?version={version}").reference.target == target


def test_two_versions_of_one_azure_secret_are_a_mistake() -> None:
    said = mistake("azure://imip-vault/SECRET-KEY/0a?version=0b")
    assert "the path and the option version name two versions" in said
    assert "Leave one of them out: azure://imip-vault/SECRET-KEY?version=0b." in said


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("azure://imip-vault/imip-*", "imip-vault/imip-"),
        ("azure://imip-vault/a/b*", "imip-vault/a/b"),
        ("azure://imip-vault/a/", "imip-vault/a/"),
        ("azure://imip-vault/a/b/c", "imip-vault/a/b/c"),
        ("aws://imip/production/db", "imip/production/db"),
    ],
)
def test_any_other_path_has_no_version_in_it(text: str, path: str) -> None:
    assert one(text).reference.target == Target(path)
