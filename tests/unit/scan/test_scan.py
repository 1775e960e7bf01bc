"""Where a value stands is found, however it is written and wherever it is, and nothing else is; it is never shown."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import socket
import string
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imip_secrets.errors import ImipError
from imip_secrets.scan import automaton, detect, stream, sweep, telling
from imip_secrets.scan.archives import Rejoined
from imip_secrets.scan.places import Excluded, files
from imip_secrets.scan.spellings import Sought, sought, spellings
from imip_secrets.scan.sweep import Sweep
from imip_secrets.secret import Secret
from imip_secrets.stores.base import Found, Lease
from job import resolved
from spellings import ENCODINGS
from stand_ins.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from imip_secrets.scan.sweep import Report
    from stand_ins.memory import Content

ROOT = Path(__file__).parents[3]
VALUE = "correct-horse/battery+staple"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "\n".join("".join(random.Random(line).choices(string.ascii_letters, k=64)) for line in range(24))  # noqa: S311 - no key
    + "\n-----END RSA PRIVATE KEY-----\n"
)
needs_posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes of POSIX")


def what(values: Mapping[str, Content] | str, floor: int = 4, environ: Mapping[str, str] | None = None) -> Sought:
    """Return what is looked for, of values by the names of their variables."""
    by_name = {"SECRET": values} if isinstance(values, str) else values
    _, result = resolved("\n".join(f"{name} = memory://{name}" for name in by_name), Memory(by_name))
    return sought(result.variables, floor, environ or {})


def scan(
    folder: Path, looked_for: Sought | str, *, exclude: Iterable[str] = (), paths: Iterable[str] = (".",)
) -> Report:
    chosen = what(looked_for) if isinstance(looked_for, str) else looked_for
    return Sweep(chosen).over(files(list(paths), Excluded(list(exclude)), folder))


def where(report: Report) -> list[str]:
    return [finding.where for finding in report.findings]


# --- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("value", [VALUE, "p@ss'w\"ö%rd <&> $x", "aB3" * 40, "0123456789abcdef" * 2, "Tr0ub4dor&3"])
def test_every_encoding_is_found_with_its_line(tmp_path: Path, encoding: str, value: str) -> None:
    text = ENCODINGS[encoding](value)
    (tmp_path / "log").write_text(f"one\ntwo\nkey: {text} and more\nfour\n", encoding="utf-8")
    report = scan(tmp_path, value)
    assert [(finding.where, finding.name) for finding in report.findings] == [("log:3", "SECRET")]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-16"])
def test_what_windows_writes_is_found(tmp_path: Path, codec: str) -> None:
    (tmp_path / "log").write_bytes(f"one\r\ntwo {VALUE}\r\n".encode(codec))
    (finding,) = scan(tmp_path, VALUE).findings
    assert finding.how == "in UTF-16"
    # Of big-endian text the first byte is a 0, which is no part of what is looked for.
    offset = 2 * len("one__two ") + (codec == "utf-16-be")
    assert finding.where == ("log:2" if codec == "utf-16" else f"log at byte {offset}")


def test_a_value_of_several_lines_is_one_finding_and_each_line_counts(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"x\n{PEM}y\n", encoding="utf-8")
    (tmp_path / "b").write_text("\r\n".join(PEM.splitlines()), encoding="utf-8", newline="")
    (tmp_path / "c").write_text(PEM.splitlines()[7], encoding="utf-8")
    (tmp_path / "d").write_text(json.dumps({"key": PEM}), encoding="utf-8")
    (tmp_path / "e").write_text(ENCODINGS["base64"](PEM), encoding="utf-8")
    (tmp_path / "other").write_text(PEM.swapcase().replace("-----begin rsa private key", "-----BEGIN RSA PRIVATE KEY"))
    assert where(scan(tmp_path, PEM)) == ["a:3-26", "b:2-25", "c:1", "d:1", "e:1"]


@pytest.mark.parametrize("columns", [76, 64])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_base64_in_lines_is_found_and_what_others_of_its_kind_have_is_not(
    tmp_path: Path, columns: int, end: str
) -> None:
    def address(password: str) -> str:
        return f"jdbc:postgresql://db.cluster-abcdefghijkl.us-east-1.rds.amazonaws.com:5432/imip?password={password}&ssl=true"

    def in_lines(text: str) -> str:
        encoded = ENCODINGS["base64"](text)
        return end.join(encoded[start : start + columns] for start in range(0, len(encoded), columns))

    plain = "".join(random.Random(1).choices(string.ascii_letters, k=120))  # noqa: S311 - no key
    chosen = what({"URL": address("Tr0ub4dor3x"), "PLAIN": plain, "PEM": PEM})
    (tmp_path / "a").write_text(in_lines(address("Tr0ub4dor3x")), encoding="utf-8", newline="")
    (tmp_path / "b").write_text(in_lines(address("another-one")), encoding="utf-8", newline="")
    (tmp_path / "c").write_text(in_lines(plain).replace(end, f"{end}    "), encoding="utf-8", newline="")
    (tmp_path / "d").write_text(in_lines(PEM.swapcase().replace("begin rsa private key", "BEGIN RSA PRIVATE KEY")))
    assert {(finding.place, finding.name) for finding in scan(tmp_path, chosen).findings} == {
        ("a", "URL"),
        ("c", "PLAIN"),
    }


def test_bytes_that_are_no_text_are_found(tmp_path: Path) -> None:
    key = bytes(range(128, 160))
    chosen = what({"KEY": key})
    (tmp_path / "a").write_bytes(b"\0" * 1000 + key)
    (tmp_path / "b").write_text(key.hex(), encoding="utf-8")
    assert where(scan(tmp_path, chosen)) == ["a at byte 1000", "b:1"]


def test_the_password_of_an_address_counts_by_itself_and_its_words_do_not(tmp_path: Path) -> None:
    chosen = what(
        {"URI": "mongodb+srv://postgres:Hunter22x!@cluster.mongodb.net/imip", "J": '{"engine": "postgresql"}'}
    )
    (tmp_path / "a").write_text("password = Hunter22x!\n", encoding="utf-8")
    (tmp_path / "b").write_text("use postgres, or postgresql, at cluster.mongodb.net\n", encoding="utf-8")
    assert [(finding.where, finding.name) for finding in scan(tmp_path, chosen).findings] == [("a:1", "URI")]


def test_what_is_short_must_stand_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hunters _hunter hunter2\n(hunter)\nhunter", encoding="utf-8")
    assert where(scan(tmp_path, "hunter")) == ["a:2-3"]


@pytest.mark.parametrize("value", ["abc", "true", "12345", "----", "  x "])
def test_what_is_not_masked_is_not_looked_for_and_said_so(tmp_path: Path, value: str) -> None:
    (tmp_path / "a").write_text(f"{value}\n" * 10, encoding="utf-8")
    chosen = what(value)
    assert scan(tmp_path, chosen).findings == []
    assert [*telling.unsearched(chosen)] == [
        "The value of SECRET is not looked for: it is too short or too common, and would be found everywhere."
    ]


def test_what_is_no_secret_by_hand_or_by_default_is_not_looked_for(tmp_path: Path) -> None:
    text = f"A = memory://a?mask=off\nB = memory://b?default={VALUE}\nC = memory://c"
    _, result = resolved(text, Memory({"a": "public-value", "c": "other-value"}))
    (tmp_path / "workflow.yml").write_text(f"{text}\npublic-value\nother-value", encoding="utf-8")
    assert where(scan(tmp_path, sought(result.variables, 4, {}))) == ["workflow.yml:5"]


def test_what_is_stored_in_base64_is_found_both_ways(tmp_path: Path) -> None:
    _, result = resolved("K = memory://k?decode=base64", Memory({"k": "Y29ycmVjdC1ob3JzZQ=="}))
    (tmp_path / "a").write_text("correct-horse\n-\nY29ycmVjdC1ob3JzZQ==", encoding="utf-8")
    assert where(scan(tmp_path, sought(result.variables, 4, {}))) == ["a:1", "a:3"]


def test_dynamic_credentials_are_those_that_the_job_has(tmp_path: Path) -> None:
    found = Found(Secret("new-password-1"), lease=Lease(Secret("id"), 60, renewable=True))
    (tmp_path / "a").write_text("old-password-1", encoding="utf-8")
    with_one = what({"DB": found}, environ={"DB": "old-password-1"})
    assert where(scan(tmp_path, with_one)) == ["a:1"]
    assert [*telling.unsearched(what({"DB": found}))] == [
        "The value of DB is not looked for: each reading makes another, and no variable DB has one."
    ]


@given(
    before=st.binary(max_size=40),
    after=st.binary(max_size=40),
    piece=st.integers(1, 70),
    value=st.text(st.characters(codec="utf-8"), min_size=8, max_size=60),
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_border_between_pieces_hides_a_value(before: bytes, after: bytes, piece: int, value: str) -> None:
    made = [*spellings(Secret(value), 4)]
    if not made or made[0].alone:
        return
    chosen = what({"SECRET": value})
    data = before + value.strip().encode() + after
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PIECE", piece)
        hits = [*stream.Searcher(chosen).search(io.BytesIO(data))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PIECE", 10_000)
        assert sorted(hits) == sorted(stream.Searcher(chosen).search(io.BytesIO(data)))
    lines = {hit.line for hit in hits if hit.how == "as it is"}
    assert data.count(b"\n", 0, data.index(value.strip().encode())) + 1 in lines


@pytest.mark.parametrize("value", ["correct-horse/battery+staple" * 3, "hunter"])
def test_the_longest_and_the_shortest_spelling_are_found_at_every_border(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = max((each.text for each in spellings(Secret(value), 4)), key=len)
    searcher = stream.Searcher(what(value))
    own, counts = value.encode(), value != "hunter"
    for text, wanted in ((longest, True), (own, True), (b"x" + own, counts), (own + b"s", counts)):
        for piece in range(1, len(text) + 10):
            monkeypatch.setattr(stream, "PIECE", piece)
            assert any(searcher.search(io.BytesIO(b"(((" + text + b")))"))) == wanted, piece


def test_no_miss_and_no_false_hit_among_many_secrets(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - the same each time
    letters = string.ascii_letters + string.digits
    values = {
        f"V{number}": "".join(chance.choices(letters + "!@#$%^&*()-_=+/'\" " * (number % 2), k=chance.randint(10, 60)))
        for number in range(100)
    }
    values = {name: value.strip() or "x" * 20 for name, value in values.items()}
    noise = [b"".join([chance.randbytes(300_000), *(letters.encode() * 2000 for _ in range(2))]) for _ in range(8)]
    noise += ["\n".join("".join(chance.choices(letters, k=70)) for _ in range(4000)).encode() for _ in range(4)]
    for number, data in enumerate(noise):
        (tmp_path / f"noise{number}").write_bytes(data)
    chosen = what(values)
    assert scan(tmp_path, chosen).findings == []
    expected = set()
    for number, (name, value) in enumerate(values.items()):
        encode = [*ENCODINGS.values()][number % len(ENCODINGS)]
        path = tmp_path / f"noise{number % len(noise)}"
        data = path.read_bytes()
        at = data.find(b"\n", chance.randint(0, len(data))) + 1
        path.write_bytes(data[:at] + f"x={encode(value)}\n".encode() + data[at:])
        expected.add((path.name, name))
    assert {(finding.place, finding.name) for finding in scan(tmp_path, chosen).findings} == expected


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is told by Linux")
def test_what_benchscan_measures_holds_on_a_small_scale(tmp_path: Path) -> None:
    """500 secrets in every encoding, in 60 MB instead of 5 GB; how fast it is, is for the figure alone."""
    command = [sys.executable, "-m", "bench.scan", "--gigabytes", "0.06", "--folder", str(tmp_path / "scan")]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), str(ROOT / "tests")])}
    ran = subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True, timeout=100, check=False)
    assert f"10000 pairs of a secret and a file, {len(ENCODINGS) * 500} findings, unread: []\n" in ran.stdout, (
        ran.stderr
    )
    rows = [line.split() for line in ran.stdout.splitlines()]
    reached = {row[0]: row[-1] for row in rows if row and row[0] in {"missed", "found", "memory"}}
    assert reached == dict.fromkeys(("missed", "found", "memory"), "reached"), ran.stdout


# --- where it is found ------------------------------------------------------------------------------------------------


def a_tar(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    stream_ = io.BytesIO()
    with tarfile.open(fileobj=stream_, mode=mode) as archive:  # type: ignore[call-overload]  # any mode
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return stream_.getvalue()


def a_zip(members: Mapping[str, bytes]) -> bytes:
    stream_ = io.BytesIO()
    with zipfile.ZipFile(stream_, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream_.getvalue()


TEXT = f"one\ntwo {VALUE}\n".encode()


@pytest.mark.parametrize(
    ("name", "data", "place"),
    [
        ("a.gz", gzip.compress(TEXT), "a.gz:2"),
        ("a.bz2", bz2.compress(TEXT), "a.bz2:2"),
        ("a.xz", lzma.compress(TEXT), "a.xz:2"),
        ("a.zip", a_zip({"x/": b"", "x/y.txt": TEXT}), "a.zip!x/y.txt:2"),
        ("a.tar", a_tar({"x/y.txt": TEXT}), "a.tar!x/y.txt:2"),
        ("a.tgz", a_tar({"x/y.txt": TEXT}, "w:gz"), "a.tgz!x/y.txt:2"),
        ("a.tar.xz", a_tar({"x/y.txt": TEXT}, "w:xz"), "a.tar.xz!x/y.txt:2"),
        ("image.tar", a_tar({"blobs/sha256/ab": a_tar({"app/.env": TEXT}, "w:gz")}),
         "image.tar!blobs/sha256/ab!app/.env:2"),
        ("layers.tar", a_tar({"1/layer.tar": a_tar({"app/lib.jar": a_zip({"c.properties": TEXT})})}),
         "layers.tar!1/layer.tar!app/lib.jar!c.properties:2"),
        ("in.zip", a_zip({"b.zip": a_zip({"c.gz": gzip.compress(TEXT)})}), "in.zip!b.zip!c.gz:2"),
        ("named.zip", a_zip({"x.txt": b"BZhot\n" + TEXT}), "named.zip!x.txt:3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_inside_is_found(tmp_path: Path, name: str, data: bytes, place: str) -> None:
    (tmp_path / name).write_bytes(data)
    report = scan(tmp_path, VALUE)
    assert (where(report), report.unread, report.files) == ([place], [], 1)


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("a.gz", gzip.compress(os.urandom(100_000))[:5000], "cannot be unpacked (EOFError)"),
        ("a.zip", a_zip({"x": TEXT})[:60], "cannot be unpacked (BadZipFile)"),
        ("a.tar", a_tar({"x": os.urandom(4000)})[:1024], "cannot be unpacked (ReadError)"),
        ("a.xz", lzma.compress(TEXT)[:20], "cannot be unpacked"),
        ("a.zst", b"\x28\xb5\x2f\xfd" + b"x" * 20, "it is Zstandard, which is not looked into"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_unpacked_is_said(tmp_path: Path, name: str, data: bytes, fault: str) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "z").write_bytes(TEXT)
    report = scan(tmp_path, VALUE)
    assert where(report) == ["z:2"]
    assert {shown.partition("!")[0] for shown, _ in report.unread} == {name}
    shown, said = report.unread[-1]
    assert shown == name
    assert fault in said


def test_what_only_looks_like_an_archive_is_searched_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"PK\x03\x04 is how a zip begins\n" + TEXT)
    report = scan(tmp_path, VALUE)
    assert where(report) == ["a:3"]
    assert len(report.unread) == 1


def test_a_stream_that_cannot_be_read_backwards_is_read_to_its_end() -> None:
    taken: list[bytes] = []
    rejoined = Rejoined(b"head", io.BytesIO(b" and rest"), taken.append)
    assert rejoined.readable()
    assert not rejoined.seekable()
    assert rejoined.read(2) == b"he"
    buffer = bytearray(4)
    assert rejoined.readinto(buffer) == 2
    assert bytes(buffer[:2]) == b"ad"
    assert rejoined.read() == b" and rest"
    assert rejoined.read(5) == b""
    assert b"".join(taken) == b"head and rest"


def test_a_person_who_waits_is_told_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (tmp_path / f"f{number}").write_bytes(b"x")
    monkeypatch.setattr(sweep, "SIGN_OF_LIFE", -1.0)
    said: list[str] = []
    Sweep(what(VALUE), notice=said.append).over(files(["."], Excluded([]), tmp_path))
    assert said[-1] == "Still searching: 2 files so far."


def test_what_the_detector_cannot_read_was_said_before(tmp_path: Path) -> None:
    class Broken(detect.Detector):
        def look(self, path: Path) -> list[tuple[int, str]]:
            raise OSError(5, "Input/output error", str(path))

    (tmp_path / "a").write_bytes(TEXT)
    report = Sweep(what(VALUE), Broken()).over(files(["."], Excluded([]), tmp_path))
    assert where(report) == ["a:2"]


@needs_posix
def test_a_file_that_goes_away_between_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(TEXT)
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        if path.name == "a":
            raise FileNotFoundError(2, "No such file or directory")
        return real(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    monkeypatch.setattr(Path, "exists", _loops)
    (tmp_path / "link").symlink_to("/")
    assert scan(tmp_path, VALUE).unread == [("a", "it cannot be read: No such file or directory")]


def _loops(_: Path) -> bool:
    msg = "Symlink loop"
    raise RuntimeError(msg)


def test_an_encrypted_member_is_said_and_the_others_are_searched(tmp_path: Path) -> None:
    data = bytearray(a_zip({"a": b"x" * 50, "b": TEXT}))
    for start in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[start] |= 1
    (tmp_path / "e.zip").write_bytes(data)
    report = scan(tmp_path, VALUE)
    assert (where(report), report.unread) == (["e.zip!b:2"], [("e.zip!a", "it is encrypted")])


def test_an_archive_in_an_archive_without_end_is_told(tmp_path: Path) -> None:
    data = TEXT
    for _ in range(sweep.DEPTH + 1):
        data = gzip.compress(data)
    (tmp_path / "deep").write_bytes(data)
    report = scan(tmp_path, VALUE)
    assert (report.findings, report.unread) == ([], [("deep", "it is within 8 archives, and not unpacked")])


def test_a_bomb_is_told_and_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "AT_LEAST", 100_000)
    bomb = gzip.compress(bytes(50_000_000))
    (tmp_path / "bomb.zip").write_bytes(a_zip({"a.gz": bomb, "b.gz": bomb, "c": TEXT}))
    (tmp_path / "z").write_bytes(TEXT)
    report = scan(tmp_path, VALUE)
    assert where(report) == ["z:2"]
    assert report.unread == [("bomb.zip", "it unpacks to more than 200 times its size: the rest was not searched")]


def test_what_an_archive_says_beside_its_members_is_searched(tmp_path: Path) -> None:
    commented = io.BytesIO()
    with zipfile.ZipFile(commented, "w") as archive:
        archive.writestr("a", "x")
        archive.comment = VALUE.encode()
    linked = io.BytesIO()
    with tarfile.open(fileobj=linked, mode="w") as tar:
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, VALUE
        tar.addfile(link)
    written = {
        "comment.zip": commented.getvalue(),
        "link.tar": linked.getvalue(),
        "tail.tar": a_tar({"k": b"y"}) + VALUE.encode(),
        "tail.zip": a_zip({"k": b"y"}) + VALUE.encode(),
    }
    for name, data in written.items():
        (tmp_path / name).write_bytes(data)
    report = scan(tmp_path, VALUE)
    assert [finding.place for finding in report.findings] == [*written]
    assert report.unread == []


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: a_zip({"in": data})])
def test_what_an_archive_within_another_says_beside_its_members_is_searched(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    commented, linked, described = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(commented, "w") as archive:
        archive.writestr("a", "x")
        archive.comment = VALUE.encode()
    with tarfile.open(fileobj=linked, mode="w") as tar:
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, VALUE
        tar.addfile(link)
    with tarfile.open(fileobj=described, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a"))
        folder = tarfile.TarInfo("folder")
        folder.type, folder.pax_headers = tarfile.DIRTYPE, {"comment": VALUE}
        tar.addfile(folder)
    noise = os.urandom(300_000)
    written = {
        "comment": commented.getvalue(),
        "described": described.getvalue(),
        "link": linked.getvalue(),
        "long": a_tar({"k": noise}) + noise + VALUE.encode(),
        "name": b"\x1f\x8b\x08\x08" + bytes(6) + VALUE.encode() + b"\0" + gzip.compress(b"x")[10:],
        "tail": a_tar({"k": b"y"}) + VALUE.encode(),
        "twice": a_tar({"k": TEXT, "m": TEXT}) + VALUE.encode(),
        "zip": a_zip({"k": b"y"}) + VALUE.encode(),
    }
    for name, data in written.items():
        (tmp_path / name).write_bytes(pack(pack(data)))
    report = scan(tmp_path, VALUE)
    places = [finding.place.replace("!in", "") for finding in report.findings]
    # What stands in a member is told with its line, and not again.
    assert places == [*[name for name in written if name < "twice"], "twice!k", "twice!m", "zip"]
    assert report.unread == []


def test_a_broken_archive_within_another_is_said_and_its_bytes_are_searched(tmp_path: Path) -> None:
    broken = a_zip({"x": TEXT})[:-30] + VALUE.encode()
    (tmp_path / "a.tgz").write_bytes(a_tar({"b.zip": broken, "c": TEXT}, "w:gz"))
    report = scan(tmp_path, VALUE)
    assert [finding.place for finding in report.findings] == ["a.tgz!b.zip", "a.tgz!c"]
    assert [shown for shown, _ in report.unread] == ["a.tgz!b.zip"]


def test_a_member_that_is_broken_or_packed_otherwise_keeps_no_other_from_being_searched(tmp_path: Path) -> None:
    data = bytearray(a_zip({"a": b"a" * 99, "b": b"b" * 99, "c": TEXT}))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    data[first + 10 : first + 12] = (93).to_bytes(2, "little")
    data[second + 16] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    report = scan(tmp_path, VALUE)
    assert where(report) == ["a.zip!c:2"]
    assert report.unread == [
        ("a.zip!a", "it is packed in a way that is not known here"),
        ("a.zip!b", "it cannot be unpacked (BadZipFile): what is in it was searched up to there"),
    ]


def test_what_may_stay_unsearched_is_said_and_the_rest_is_not_forgiven(tmp_path: Path) -> None:
    packed = a_tar({"test/a.zst": b"\x28\xb5\x2f\xfd" + b"x" * 20, "b.zst": b"\x28\xb5\x2f\xfd" + b"x" * 20})
    (tmp_path / "a.tar").write_bytes(packed)
    allowed = Excluded(["a.tar!test/*"]).has
    report = Sweep(what(VALUE), allowed=allowed).over(files(["."], Excluded([]), tmp_path))
    assert [shown for shown, _ in report.unread] == ["a.tar!b.zst"]
    assert [shown for shown, _ in report.skipped] == ["a.tar!test/a.zst"]


def test_xz_takes_no_more_memory_than_its_usual_levels(tmp_path: Path) -> None:
    def packed(size: int) -> bytes:
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": size}]
        return lzma.compress(b"x" * 100_000 + TEXT, filters=filters)

    (tmp_path / "a.xz").write_bytes(packed(1 << 20) + bytes(8) + packed(1 << 26) + bytes(4))
    (tmp_path / "b.xz").write_bytes(packed(1 << 28))
    (tmp_path / "c.xz").write_bytes(packed(1 << 20)[:-8])
    (tmp_path / "d.xz").write_bytes(packed(1 << 20) + b"what is no xz")
    report = scan(tmp_path, VALUE)
    assert where(report) == ["a.xz:2", "a.xz:4", "d.xz:2"]
    fault = "it cannot be unpacked ({}): what is in it was searched up to there"
    expected = {"b.xz": "LZMAError", "c.xz": "EOFError"}
    assert report.unread == [(name, fault.format(kind)) for name, kind in expected.items()]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_what_describes_a_member_is_not_taken_into_memory_however_large_it_is(tmp_path: Path, kind: bytes) -> None:
    size = 64 * 1024 * 1024
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, size
    start = b"%d comment=" % size
    described = header.tobuf(tarfile.USTAR_FORMAT) + start + b"a" * (size - len(start) - 1) + b"\n"
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(described + a_tar({"k": TEXT}), 1))
    tracemalloc.start()
    report = scan(tmp_path, VALUE)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < size // 4
    assert [place for place, _ in report.unread] == ["a.tar.gz"]


def test_a_name_that_holds_a_value_is_found_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "dump-Tr0ub4dor&3x.sql").write_bytes(b"Tr0ub4dor&3x")
    (tmp_path / "a.tar").write_bytes(a_tar({"k/Tr0ub4dor&3x": b"y"}))
    report = scan(tmp_path, "Tr0ub4dor&3x")
    assert [*map(telling.found, report.findings)] == [
        "a.tar!k/***: the value of SECRET, in its name",
        "dump-***.sql: the value of SECRET, in its name",
        "dump-***.sql:1: the value of SECRET, as it is",
    ]


def test_a_file_full_of_a_value_is_told_shortly(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"{VALUE}\n-\n" * 500, encoding="utf-8")
    (tmp_path / "bin").write_bytes(b"\0" + (VALUE.encode() + bytes(2000)) * 3)
    report = scan(tmp_path, VALUE)
    assert len(report.findings) == 3 + sweep.FINDINGS_LIMIT
    assert report.more == [("log", 400)]
    assert [*telling.left_out(report)] == ["log: 400 findings more"]
    assert telling.outcome(report).startswith("503 findings in 2 places: 2 files searched (")


@needs_posix
def test_links_and_what_is_no_file_are_left_alone_and_said(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    tree.mkdir()
    outside.mkdir()
    (outside / "x").write_bytes(TEXT)
    (tree / "real").write_bytes(TEXT)
    (tree / "hard").hardlink_to(tree / "real")
    (tree / "inside").symlink_to("real")
    (tree / "out").symlink_to(outside)
    (tree / "loop").symlink_to("loop")
    (tree / "broken").symlink_to("nothing")
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "sock"))
        report = scan(tree, VALUE)
    assert where(report) == ["hard:2"]
    assert report.unread == []
    assert [*report.skipped] == [
        ("out", "a link that leads out of the tree, which is not followed"),
        ("pipe", "a pipe, which is not read"),
        ("sock", "a socket, which is not read"),
    ]
    # What is named itself is meant.
    assert where(scan(tree, VALUE, paths=["out"])) == ["out/x:2"]


def test_what_is_not_there_or_goes_away_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = scan(tmp_path, VALUE, paths=["nothing"])
    assert report.unread == [("nothing", "it cannot be read: No such file or directory")]
    (tmp_path / "a").write_bytes(TEXT)
    (tmp_path / "folder").mkdir()
    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name == "folder":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(sweep, "_open_regular", _vanished)
    report = scan(tmp_path, VALUE)
    assert report.unread == [
        ("a", "it cannot be read: No such file or directory"),
        ("folder", "it cannot be read: Permission denied"),
    ]


def _vanished(path: str, flags: int) -> int:
    raise FileNotFoundError(2, "No such file or directory", path, flags)


@needs_posix
def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file any more"):
        sweep._open_regular(str(tmp_path / "pipe"), os.O_RDONLY)


def test_what_is_excluded_is_left_out(tmp_path: Path) -> None:
    for name in ("a.map", "src/a.js", "src/b.map", "node_modules/x", "dist/deep/y", "dist/z"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(TEXT)
    assert where(scan(tmp_path, VALUE, exclude=["*.map", "node_modules", "dist/deep/"])) == ["dist/z:2", "src/a.js:2"]
    assert where(scan(tmp_path, VALUE, exclude=["./dist/*", "src"], paths=["dist", "src/a.js", "a.map"])) == [
        "src/a.js:2",
        "a.map:2",
    ]


# --- what was never in a store ----------------------------------------------------------------------------------------

AWS_KEY = "AKIA" + "IOSFODNN7ABCDEFG"


def test_what_looks_like_a_secret_is_found_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text(f'x = 1\nkey = "{AWS_KEY}"\nother = "{AWS_KEY}"  # pragma: allowlist secret\n')
    (tmp_path / "large").write_text("x\n" * 100, encoding="utf-8")
    monkeypatch.setattr(sweep, "SIZE_LIMIT", 150)
    with detect.Detector() as detector:
        report = Sweep(Sought([], []), detector).over(files(["."], Excluded([]), tmp_path))
    assert [*map(telling.found, report.findings)] == ["a.py:2: looks like a secret (AWS Access Key)"]
    assert (report.unread, report.skipped) == ([], (("large", "it is too large for detect-secrets"),))
    assert AWS_KEY not in repr(report)


def test_detecting_leaves_the_process_as_it_was() -> None:
    script = (
        "import warnings, logging; before = warnings.showwarning\n"
        "from imip_secrets.scan.detect import Detector\n"
        "with Detector(): pass\n"
        "assert warnings.showwarning is before"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


@pytest.mark.parametrize(
    ("module", "package"), [("ahocorasick_rs", "ahocorasick-rs"), ("detect_secrets.core.log", "detect-secrets")]
)
def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, module: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    use: Callable[[], object] = (
        detect.Detector().__enter__ if "detect" in module else lambda: automaton.Automaton([b"x"])
    )
    with pytest.raises(ImipError) as caught:
        use()
    assert str(caught.value) == f"the library {package} is not installed. Install it: pip install {package}."


def test_nothing_shows_what_is_looked_for() -> None:
    chosen = what(VALUE)
    shown = repr(chosen) + repr(chosen.entries) + repr(Sweep(chosen)) + repr(stream.Searcher(chosen))
    assert VALUE not in shown
    assert "horse" not in shown
