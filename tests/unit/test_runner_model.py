"""The oracle against the runner's own rules.

The vectors follow actions/runner 2.336: ``SetEnvFileCommandL0``, ``SetOutputFileCommandL0``, ``ActionCommandL0``,
``ActionCommandManagerL0``, ``HostContextL0`` and ``CreateStepSummaryCommandL0``, and the rules of the code they test.
"""

from __future__ import annotations

import base64
import codecs

import pytest

from runner_model import Command, EnvFileError, Log, Masker, parse, parse_env_file

ENV_FILES = [
    (b"", {}),
    (b"MY_ENV=MY VALUE\n", {"MY_ENV": "MY VALUE"}),
    (b"MY_ENV=MY VALUE", {"MY_ENV": "MY VALUE"}),
    (b"\nA=a\n\nB=b\n\n", {"A": "a", "B": "b"}),
    (b"MY_ENV=\n", {"MY_ENV": ""}),
    (b"A=1\nB=\nC=3\n", {"A": "1", "B": "", "C": "3"}),
    (b"A==abc\nB=def=ghi\nC=jkl=\n", {"A": "=abc", "B": "def=ghi", "C": "jkl="}),
    (b"A=b<<c\n", {"A": "b<<c"}),
    (b" A =1\n", {" A ": "1"}),
    (b"A=1\nA=2\n", {"A": "2"}),
    (b"A<<EOF\nline one\nline two\nline three\nEOF\n", {"A": "line one\nline two\nline three"}),
    (b"A<<EOF\nx\nEOF", {"A": "x"}),
    (b"A<<EOF\nEOF\n", {"A": ""}),
    (b"A<<EOF\n\nEOF\n", {"A": ""}),
    (b"A<<D\n\nx\n\nD\n", {"A": "\nx\n"}),
    (b"\nA<<EOF\nhello\nworld\nEOF\n\nB<<EOF\nHELLO\nAGAIN\nEOF\n\n", {"A": "hello\nworld", "B": "HELLO\nAGAIN"}),
    (b"A<<=EOF\nhello\none\n=EOF\n", {"A": "hello\none"}),
    (b"A<<<EOF\nhello\ntwo\n<EOF\n", {"A": "hello\ntwo"}),
    (b"A<<EOF\nhello\n\nthree\n\nEOF\n", {"A": "hello\n\nthree\n"}),
    (b"A<<EOF\nhello=four\nEOF\n", {"A": "hello=four"}),
    (b"A<<EOF\n EOF\nEOF\n", {"A": " EOF"}),
    (b"A<<EOF\nEOF \nEOF\n", {"A": "EOF "}),
    (b"A<<D\r\nx\r\nD\r\n", {"A": "x\r"}),
    (b"A<<D\nx\ry\nD\n", {"A": "x\ry"}),
    (b"A=x\r\n", {"A": "x\r"}),
    (codecs.BOM_UTF8 + b"A=1\n", {"A": "1"}),
    (codecs.BOM_UTF16_LE + "A=\u00e9\n".encode("utf-16-le"), {"A": "\u00e9"}),
    (codecs.BOM_UTF32_LE + "A=1\n".encode("utf-32-le"), {"A": "1"}),
    (b"A=\xff\n", {"A": "\ufffd"}),
    (b"A=a\0b\n", {"A": "a\0b"}),
    ("A<<D\na\u2028b\x0bc\nD\n".encode(), {"A": "a\u2028b\x0bc"}),
    (b"A=%0A\n", {"A": "%0A"}),
]

WINDOWS_ENV_FILES = [
    (b"A<<D\r\nx\r\ny\r\nD\r\n", {"A": "x\r\ny"}),
    (b"A<<D\nhello\nworld\nD\n", {"A": "hello\nworld"}),
    (b"A<<D\nx\r\nD\n", {"A": "x"}),
    (b"A<<D\r\nx\r\r\nD\r\n", {"A": "x\r"}),
    (b"A=1\r\nB=2\n", {"A": "1", "B": "2"}),
]


@pytest.mark.parametrize(("data", "expected"), ENV_FILES)
def test_an_env_file_gives_these_variables(data: bytes, expected: dict[str, str]) -> None:
    assert dict(parse_env_file(data)) == expected


@pytest.mark.parametrize(("data", "expected"), WINDOWS_ENV_FILES)
def test_on_windows_crlf_and_lf_both_frame_a_value(data: bytes, expected: dict[str, str]) -> None:
    assert dict(parse_env_file(data, windows=True)) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"A\n", "Invalid format 'A'"),
        (b"<<EOF\nx\nEOF\n", "Name must not be empty and delimiter must not be empty"),
        (b"A<<\nx\n\n", "Name must not be empty and delimiter must not be empty"),
        (b"A<<EOF\nx\n", "Matching delimiter not found 'EOF'"),
        (b"A<<EOF line one line two EOF ", "Matching delimiter not found"),
        (b"A<<EOF line one\nline two EOF ", "EOF marker missing new line"),
        (b"A<<D\nx", "EOF marker missing new line"),
        (b"A<<D\r\nx\nD\n", "Matching delimiter not found"),
    ],
)
def test_a_malformed_env_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(EnvFileError, match=message):
        dict(parse_env_file(data))


def test_what_stands_before_a_bad_record_is_applied_and_the_step_fails() -> None:
    log = Log()
    log.apply_env(b"A=1\nB<<EOF\n2\nEOF\nbad\nC=3\n")
    assert log.environment == {"A": "1", "B": "2"}
    assert log.failed
    assert log.text == "##[error]Unable to process file command 'env' successfully.\n##[error]Invalid format 'bad'"


@pytest.mark.parametrize("data", [b"NODE_OPTIONS=asdf\n", b"Node_Options<<EOF\nasdf\nEOF\n"])
def test_node_options_is_refused_with_an_annotation_and_the_step_goes_on(data: bytes) -> None:
    log = Log()
    log.apply_env(data + b"A=1\n")
    assert log.environment == {"A": "1"}
    assert log.issues == [("error", "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.")]
    assert not log.failed


def test_an_empty_name_fails_the_step() -> None:
    log = Log()
    log.apply_env(b"A=1\n=v\nB=2\n")
    assert (log.environment, log.failed) == ({"A": "1"}, True)


def test_outputs_and_state_follow_the_same_format() -> None:
    log = Log()
    log.apply_output(b"A<<EOF\n1\n2\nEOF\nNODE_OPTIONS=x\n")
    log.apply_state(b"A=1\n")
    assert log.outputs == {"A": "1\n2", "NODE_OPTIONS": "x"}
    assert log.state == {"A": "1"}


def test_windows_keeps_the_first_spelling_of_a_variable() -> None:
    log = Log(windows=True)
    log.apply_env(b"Path=1\nPATH=2\n")
    assert log.environment == {"Path": "2"}


COMMANDS = [
    ("::do-something k1=v1,::msg", Command("do-something", "msg", {"k1": "v1"})),
    ("::do-something::", Command("do-something")),
    ("::DO-Something::x", Command("do-something", "x")),
    ("::do-something::a::b", Command("do-something", "a::b")),
    ("::do-something:: x ", Command("do-something", " x ")),
    (
        "::do-something k1=;=%2C=%0D=%0A=]=%3A,::;-%0D-%0A-]-:-,",
        Command("do-something", ";-\r-\n-]-:-,", {"k1": ";=,=\r=\n=]=:"}),
    ),
    (
        "::do-something k1=;=%252C=%250D=%250A=]=%253A,::;-%250D-%250A-]-:-,",
        Command("do-something", ";-%0D-%0A-]-:-,", {"k1": ";=%2C=%0D=%0A=]=%3A"}),
    ),
    ("::do-something k1=,k2=,::", Command("do-something")),
    ("::do-something k1=v1::", Command("do-something", "", {"k1": "v1"})),
    ("::do-something =k1==v1::", Command("do-something", "", {"k1": "v1"})),
    ("   ::do-something k1=v1,::msg", Command("do-something", "msg", {"k1": "v1"})),
    ("\u3000\x85::do-something::msg", Command("do-something", "msg")),
    ("::do-something::%3A%2C%5D", Command("do-something", "%3A%2C%5D")),
    ("   >>>   ::do-something k1=v1,::msg", None),
    ("\x1c::do-something::msg", None),
    ("::do-something", None),
    ("::unknown::msg", None),
    (":: do-something::msg", None),
    ("##[do-something k1=v1;]msg", Command("do-something", "msg", {"k1": "v1"})),
    ("##[do-something]", Command("do-something")),
    ("##[do-something k1=%3B=%0D=%0A=%5D;]%3B-%0D-%0A-%5D", Command("do-something", ";-\r-\n-]", {"k1": ";=\r=\n=]"})),
    (
        "##[do-something k1=%253B=%250D=%250A=%255D;]%253B-%250D-%250A-%255D",
        Command("do-something", "%3B-%0D-%0A-%5D", {"k1": "%3B=%0D=%0A=%5D"}),
    ),
    ("##[do-something k1=;k2=;]", Command("do-something")),
    (">>>   ##[do-something k1=v1;]msg", Command("do-something", "msg", {"k1": "v1"})),
    ("::unknown::##[do-something]msg", Command("do-something", "msg")),
    ("##[do-something", None),
    ("##[unknown]##[do-something]x", None),
    ("", None),
]


@pytest.mark.parametrize(("line", "expected"), COMMANDS)
def test_a_line_gives_this_command(line: str, expected: Command | None) -> None:
    assert parse(line, {"do-something"}) == expected


def test_lines_end_at_cr_lf_and_crlf_even_between_two_pieces() -> None:
    log = Log()
    for piece in (b"a\r", b"\nb\rc", b"\xc3", b"\xa9\nd"):
        log.feed(piece)
    assert log.lines == ["a", "b", "c\u00e9"]
    assert log.end_step().lines == ["a", "b", "c\u00e9", "d"]


def test_a_raw_line_break_in_a_mask_prints_the_rest_of_the_secret() -> None:
    assert Log().feed(b"::add-mask::first\rsecond\n").lines == ["second"]


def test_a_mask_of_several_lines_masks_the_whole_and_each_line() -> None:
    log = Log().feed(b"::add-mask::abc%0Ddef%0Aghi%0D%0Ajkl\n::add-mask:: %0D  %0A   %0D%0A    %0D\n")
    assert [log.masker.mask(text) for text in ("abc", "def", "ghi", "jkl", "abc\rdef\nghi\r\njkl")] == ["***"] * 5
    assert [log.masker.mask(" " * count) for count in range(5)] == [" " * count for count in range(5)]
    assert log.issues == [("warning", "Can't add secret mask for empty string in ##[add-mask] command.")]


def test_a_line_of_a_mask_has_no_least_length() -> None:
    log = Log().feed(b'::add-mask::{%0A  "a": 1%0A}\n')
    assert log.feed(b"if (x) { y }\n").lines == ["if (x) *** y ***"]


def test_a_mask_is_never_echoed() -> None:
    log = Log(debug=True).feed(b"::echo::on\n::add-mask::s3cret\n::warning::s3cret\n::debug::s3cret\n")
    assert log.lines == ["::echo::on", "::add-mask::***", "##[warning]***", "##[debug]***"]


@pytest.mark.parametrize(("value", "echo"), [("on", True), ("off", False), ("ON", True), ("Off   ", False)])
def test_echo_prints_commands_before_they_run(value: str, *, echo: bool) -> None:
    log = Log().feed(f"::echo::{value}\n::group::x\n".encode())
    assert log.lines == (["::group::x", "##[group]x"] if echo else ["##[group]x"])


@pytest.mark.parametrize("value", ["", "invalid"])
def test_a_bad_echo_fails_the_step(value: str) -> None:
    log = Log().feed(f"::echo::{value}\n".encode())
    assert log.failed
    assert log.lines[0] == f"##[error]Unable to process command '::echo::{value}' successfully."


def test_stopped_commands_are_printed_until_the_token_comes() -> None:
    log = Log().feed(
        b"##[stop-commands]stopToken\n##[add-mask]bar\n::add-mask::baz\nbar\n##[StopToken]\n::add-mask::bar\nbar\n"
    )
    assert log.lines == ["##[stop-commands]***", "##[add-mask]bar", "::add-mask::baz", "bar", "##[StopToken]", "***"]
    assert log.masker.mask("stopToken") == "***"


def test_stopping_does_not_outlive_the_step() -> None:
    log = Log().feed(b"x ##[stop-commands]tok\n::notice::a\n").end_step().feed(b"::notice::b\n")
    assert log.issues == [("notice", "b")]
    assert log.masker.mask("tok") == "tok"


@pytest.mark.parametrize("token", ["", "pause-logging", "Pause-Logging", "add-mask", "stop-commands"])
def test_a_stop_token_that_is_a_command_fails_the_step(token: str) -> None:
    assert Log().feed(f"::stop-commands::{token}\n".encode()).failed


@pytest.mark.parametrize(
    "line", [b"::set-env name=A::x\n", b"::add-path::x\n", b"::set-output::x\n", b"::save-state::x\n"]
)
def test_commands_that_are_disabled_or_lack_a_name_fail_the_step(line: bytes) -> None:
    log = Log().feed(line)
    assert log.failed
    assert log.environment == log.outputs == log.state == {}


def test_outputs_and_state_can_be_set_by_command() -> None:
    log = Log().feed(b"::set-output name=A::1%0A2\n::save-state name=B::3\n")
    assert (log.outputs, log.state) == ({"A": "1\n2"}, {"B": "3"})


def test_an_issue_is_masked_and_then_cut() -> None:
    log = Log().feed(b"::add-mask::s3cret\n::error title=T::" + b"s3cret" * 3 + b"x" * 5000 + b"\n")
    assert log.issues == [("error", "***" + "x" * 4093)]


def test_other_commands_are_taken_out_of_the_log_and_plain_lines_stay() -> None:
    log = Log().feed(b"::add-matcher::m.json\na :: b\n::endgroup::x\n##[start-action x]\n")
    assert log.lines == ["a :: b", "##[endgroup]", r"##[\start-action x]"]
    assert [command.name for command in log.commands] == ["add-matcher", "endgroup"]


def test_the_next_step_prints_the_environment_masked() -> None:
    log = Log().feed(b"::add-mask::s3cret\n")
    log.apply_env(b"A=1\nB<<EOF\ns3cret\nplain\nEOF\n")
    assert log.end_step().lines == ["env:", "  A: 1", "  B: ***\nplain"]


def test_debug_shows_what_a_file_set_masked() -> None:
    log = Log(debug=True).feed(b"::add-mask::s3cret\n")
    log.apply_env(b"A=s3cret\n")
    assert log.lines[-1] == "##[debug]A='***'"


ENCODED = [
    ("Password123!", "123Password123!123", "123***123"),
    ("Password123!", "password123", "password123"),
    ('Pass"word"123!', '123Pass\\"word\\"123!123', "123***123"),
    ("Pass word 123!", "123Pass%20word%20123%21123", "123***123"),
    ("Pass<word>123!", "123Pass&lt;word&gt;123!123", "123***123"),
    ("Pass'word'123!", "123Pass''word''123!123", "123***123"),
    ("Pass'word'123!", "Pass&apos;word&apos;123!", "***"),
    ("Password123!", base64.b64encode(b":Password123!").decode(), "OlBh***"),
    ("Password123!", base64.b64encode(b"a:Password123!").decode(), "YTpQ***"),
    ("Password123!", base64.b64encode(b"ab:Password123!").decode(), "YWI6***"),
    ("Password123!", base64.b64encode(b"abc:Password123!").decode(), "YWJjOlBh***"),
    ("Password123!", base64.b64encode(b"abcd:Password123!").decode(), "YWJjZDpQ***"),
    ("Password123!", base64.b64encode(b"abcde:Password123!").decode(), "YWJjZGU6***"),
    ('"Password123!!"', "123Password123!!123", "123***123"),
    ('"short"', "123short123", "123short123"),
    ('"short"', '123"short"123', "123***123"),
    ("a\tb\x01\u2028\u00e9", "a\\tb\\u0001\\u2028\u00e9", "***"),
    ("secret&secret&secret", "secret&secret&\x1b[96msecret\x1b[0m", "***\x1b[96m***\x1b[0m"),
    ("secret&secret+secret", "secret&\x1b[96msecret+secret\x1b[0m", "***\x1b[96m***\x1b[0m"),
    ("secret+secret&secret", "secret+secret&\x1b[96msecret\x1b[0m", "***\x1b[96m***\x1b[0m"),
    ("secret&secret&+secretsecret", "secret&secret&+\x1b[96ms\x1b[0mecretsecret", "***\x1b[96ms\x1b[0m***"),
    ("secret&+secret&secret", "secret&+\x1b[96ms\x1b[0mecret&secret", "***\x1b[96ms\x1b[0m***"),
    ("secret&+secret&+secret", "secret&+\x1b[96ms\x1b[0mecret&+secret", "***\x1b[96ms\x1b[0m***"),
    ("secret&+secret&secret&+secret", "secret&+\x1b[96ms\x1b[0mecret&secret&+secret", "***\x1b[96ms\x1b[0m***"),
    ("secret&secret&+", "secret&secret&+\x1b[96m\x1b[0m", "***\x1b[96m\x1b[0m"),
    ("aXa", "aXaXa", "***"),
    ("abc", "abcabc-abc", "***-***"),
    ("hex me", "686578206d65", "686578206d65"),
    ("x", "", ""),
]


@pytest.mark.parametrize(("secret", "text", "expected"), ENCODED)
def test_a_mask_hides_the_value_and_its_eleven_encodings(secret: str, text: str, expected: str) -> None:
    masker = Masker()
    masker.add(secret)
    assert masker.mask(text) == expected


def test_a_summary_is_masked_line_by_line() -> None:
    log = Log().feed(b"::add-mask::s3cret\n")
    assert log.summary(b"a s3cret\r\nb\n") == "a ***\nb\n"


@pytest.mark.parametrize(
    ("size", "shown", "issues"), [(0, False, 0), (1024 * 1024, True, 0), (1024 * 1024 + 1, False, 1)]
)
def test_a_summary_over_one_mebibyte_is_not_shown(size: int, issues: int, *, shown: bool) -> None:
    log = Log()
    assert (log.summary(b"x" * size) is not None) == shown
    assert len(log.issues) == issues


def test_a_job_output_that_holds_a_mask_is_dropped() -> None:
    log = Log().feed(b"::add-mask::s3cret\n")
    assert log.job_outputs({"a": "1", "b": "a s3cret b", "c": ""}) == {"a": "1"}
    assert log.issues == [("warning", "Skip output 'b' since it may contain secret.")]
