"""Planted card numbers are found in everything that may hold them; what only looks like one is not."""

from __future__ import annotations

import argparse
import base64
import bz2
import gzip
import io
import json
import lzma
import sqlite3
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dsp import g711
from paycall import scan
from paycall.domain.errors import SettingsError
from paycall.scan.encodings import hits
from paycall.scan.numbers import is_card_number
from paycall.vault.sandbox_cards import is_test_number

NUMBERS = [
    "4242424242424242",
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    "6011111111111117",
    "3566002020360505",
    "36227206271667",
    "2223003122003222",
    "6759649826438453",
    "2200000000000004",
    "4222222222222",
    "6205500000000000004",
]
NOISE = b"\x00\x07\xf3 log line 17: \xc3\xa9 done\n"


def bcd(digits: str) -> bytes:
    return bytes.fromhex(digits + "f" * (len(digits) % 2))


def utf16(digits: str) -> bytes:
    return digits.encode("utf-16-le")


def grouped(digits: str, separator: str) -> str:
    if len(digits) == 15:
        return separator.join((digits[:4], digits[4:10], digits[10:]))
    return separator.join(digits[i : i + 4] for i in range(0, len(digits), 4))


def dump(content: bytes, width: int) -> bytes:
    """As xxd (two bytes a column) and hexdump -C (one) write it."""
    lines = []
    for at in range(0, len(content), 16):
        row = content[at : at + 16]
        columns = " ".join(row[i : i + width].hex() for i in range(0, len(row), width))
        lines.append(f"{at:08x}: {columns:<47}  {row.decode()}\n")
    return "".join(lines).encode()


def trace(line: str, keys: str) -> bytes:
    return "".join(line.format(key) for key in keys).encode()


FORMS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda d: b"card=" + d.encode() + b"&x=1",
    "quoted": lambda d: b'{"pan":"' + d.encode() + b'"}',
    "at the end": lambda d: b"\n" + d.encode(),
    "a url": lambda d: b"GET /pay/" + d.encode() + b" HTTP/1.1",
    "end of a sentence": lambda d: b"My card is " + d.encode() + b". Thanks",
    "in a list": lambda d: b"1, " + d.encode() + b", 3",
    "spaces": lambda d: grouped(d, " ").encode(),
    "dashes": lambda d: grouped(d, "-").encode(),
    "spaces and expiry": lambda d: grouped(d, " ").encode() + b" 12/31 739",
    "one by one": lambda d: " ".join(d).encode(),
    "one a line": lambda d: b"\n".join(c.encode() for c in d) + b"\n",
    "with commas": lambda d: ", ".join(d).encode(),
    "with expiry and code": lambda d: b" " + d.encode() + b"1231739 ",
    "track 2": lambda d: b";" + d.encode() + b"=31122010000?",
    "utf-16 little": lambda d: "naïve ".encode("utf-16-le") + utf16(d) + utf16(" end"),
    "utf-16 big": lambda d: ("naïve " + d + " end").encode("utf-16-be"),
    "base64": lambda d: base64.b64encode(b'{"card": "' + d.encode() + b'", "x": 1}'),
    "base64 in lines": lambda d: base64.encodebytes(b"x" * 49 + b" " + d.encode() + b" and more text follows here"),
    "url-safe base64": lambda d: base64.urlsafe_b64encode(b"\xff\xfe>>" + b' "' + d.encode() + b'"???'),
    "hex": lambda d: d.encode().hex().encode(),
    "hex of a text": lambda d: ("Kunde Meier, card " + d + " 12/31").encode().hex().encode(),
    "hex with blanks": lambda d: d.encode().hex(" ").encode(),
    "hex with capitals and colons": lambda d: grouped(d, "-").encode().hex(":").upper().encode(),
    "hex dump": lambda d: dump(b"GET /?pan=" + d.encode() + b"&x=1 HTTP/1.1", 2),
    "tcpdump -X": lambda d: dump(b"GET /?pan=" + d.encode() + b"&x=1", 2).replace(b"000000", b"\t0x00"),
    "hex dump, byte by byte": lambda d: dump(b"GET /?pan=" + d.encode() + b"&x=1 HTTP/1.1", 1),
    "csv": lambda d: b"1," + d.encode() + b",1231,739\n12.50," + d.encode() + b",x",
    "sql dump": lambda d: b"INSERT INTO c VALUES (1," + d.encode() + b",1231);",
    "json array": lambda d: b"[1," + d.encode() + b",2]",
    "json escapes": lambda d: ('{"d":"' + "".join(f"\\u{ord(c):04x}" for c in d) + '"}').encode(),
    "floating point": lambda d: b"x," + d.encode() + b".0,",
    "track 1": lambda d: b"%B" + d.encode() + b"^MEIER/HANS^31122010000000000?",
    "named pan": lambda d: b"PAN" + d.encode() + b"EXP3112",
    "emv in hex": lambda d: b"9F02065A" + b"%02X" % len(bcd(d)) + bcd(d).hex().upper().encode() + b"5F2403311231",
    "iso 8583 in letters": lambda d: b"0200" + b"\x70\x20" + f"{len(d)}{d}000000000000001999".encode(),
    "ebcdic": lambda d: ("CARD " + d + " OK").encode("cp037"),
    "utf-32 little": lambda d: ("x " + d + " y").encode("utf-32-le"),
    "utf-32 big": lambda d: ("x " + grouped(d, " ") + " y").encode("utf-32-be"),
    "base64 of gzip": lambda d: base64.b64encode(gzip.compress(b"x" * 30 + b" " + d.encode(), mtime=0)),
    "list of strings": lambda d: str(list(d)).encode(),
    "sip info": lambda d: trace("INFO sip:a@b\r\n" + "Via: x\r\n" * 60 + "\r\nSignal={}\r\nDuration=160\r\n", d),
    "sip info after a menu": lambda d: trace("Signal= {}\r\nDuration= 160\r\n\r\n", "12" + d + "#1231#"),
    "asterisk": lambda d: trace("DTMF begin '{0}' received on x\nDTMF end '{0}' received on x, 80 ms\n", d + "#"),
    "freeswitch": lambda d: trace("[DEBUG] RTP RECV DTMF {}:480\n", d + "#1231#739#"),
    "a log of keys": lambda d: trace("2026-11-22 10:00:00 key={}\n", d),
    "events in json": lambda d: trace('{{"type":"press","digit":"{}"}}\n', d + "#"),
    "bcd between zeros": lambda d: b"\x01\x00\x00\x00\x00" + bcd(d) + b"\x00\x00\x00\x00\x02",
    "emv": lambda d: b"\x9f\x02\x06\x5a" + bytes([len(bcd(d))]) + bcd(d) + b"\x5f\x24\x03\x31\x12\x31",
    "packed track 2": lambda d: b"\x02\x57\x13" + bytes.fromhex((d + "d31122010000012345ff")[: (len(d) + 19) & ~1]),
    "iso 8583": lambda d: (
        b"\x02\x00\x70\x00" + bytes([int(str(len(d)), 16)]) + bytes.fromhex("0" * (len(d) % 2) + d)
        + bytes.fromhex("000000000000004200") + b"\x11\x22"
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("digits", NUMBERS)
def test_a_planted_number_is_found_in_every_form(digits: str, form: str) -> None:
    if form in ("bcd between zeros", "emv", "packed track 2", "iso 8583") and "0000" in digits:
        return  # packed, such a number can't be told from a table of small integers: said in the documents
    planted = FORMS[form](digits)
    wrapped = NOISE + planted + b"\x00" + NOISE
    for data in (
        (planted,) if form.startswith(("bcd", "utf-32", "hex dump", "tcpdump")) else (planted, wrapped)
    ):
        assert digits in [hit.digits for hit in hits(data)]


BETWEEN = ["+", "/", "_", "\t", ",", "  ", "\n", "\r\n", "\u00a0", "\u2009", "&nbsp;", "%20", "=20", ")("]


@pytest.mark.parametrize("number", range(len(BETWEEN)))
@pytest.mark.parametrize("digits", [d for d in NUMBERS if len(d) in (15, 16)])
def test_groups_are_found_whatever_stands_between_but_not_in_a_table(digits: str, number: int) -> None:
    between = BETWEEN[number]
    group = grouped(digits, between)
    for text in (f"({group})", f"card={group}&x=1", f"{group}{between}1231{between}x"):
        assert digits in [hit.digits for hit in hits(text.encode())], text
    if number < 8:
        assert not list(hits(f"1234{between}{group}{between}9999{between}1".encode()))


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("<v>4.11111111111111E+15</v>", None),
        ("5.555555555554444E15", "5555555555554444"),
        ("4.242424242424242e+15", "4242424242424242"),
        ("3.78282246310005E14", "378282246310005"),
        ("x14.242424242424242e+15", None),
        ("4.242424242424242e+25", None),
    ],
)
def test_a_number_that_a_spreadsheet_wrote_as_a_fraction_is_found(text: str, digits: str | None) -> None:
    assert [hit.digits for hit in hits(text.encode())] == ([digits] if digits else [])


def tones(digits: str, rate_hz: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    parts = []
    for digit in digits:
        low, high = DTMF_HZ_OF[digit]
        t = np.arange(int(0.1 * rate_hz)) / rate_hz
        parts.append(0.3 * np.sin(2 * np.pi * low * t) + 0.3 * np.sin(2 * np.pi * high * t))
        parts.append(np.zeros(int(0.1 * rate_hz)))
    return (np.concatenate(parts) * 20000).astype(np.int16)


_LOW, _HIGH = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0)
DTMF_HZ_OF = {key: (_LOW[n // 4], _HIGH[n % 4]) for n, key in enumerate("123A456B789C*0#D")}


def wav(codes: bytes, rate_hz: int, encoding: int, bits: int, channels: int = 1) -> bytes:
    layout = struct.pack(
        "<HHIIHH", encoding, channels, rate_hz, rate_hz * bits // 8, channels * bits // 8, bits
    )
    chunks = b"fmt " + struct.pack("<I", 16) + layout + b"data" + struct.pack("<I", len(codes)) + codes
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def recordings() -> dict[str, bytes]:
    pcm = tones("4242424242424242#1231#739#", 8000)
    both = np.stack([np.zeros_like(pcm), pcm], axis=1).tobytes()
    return {
        "pcm": wav(pcm.tobytes(), 8000, 1, 16),
        "alaw": wav(g711.encode_alaw(pcm).tobytes(), 8000, 6, 8),
        "ulaw": wav(g711.encode_ulaw(pcm).tobytes(), 8000, 7, 8),
        "second channel": wav(both, 8000, 1, 16, channels=2),
        "44.1 kHz": wav(tones("4242424242424242", 44100).tobytes(), 44100, 1, 16),
        "16 kHz": wav(tones("42424242424242421231739", 16000).tobytes(), 16000, 1, 16),
    }


@pytest.mark.parametrize("kind", ["pcm", "alaw", "ulaw", "second channel", "44.1 kHz", "16 kHz"])
def test_a_number_keyed_in_a_recording_is_found(tmp_path: Path, kind: str) -> None:
    (tmp_path / "call.wav").write_bytes(recordings()[kind])
    (found,) = scan.scan_file(tmp_path / "call.wav")
    assert (found.how, found.digits, found.where) == ("keys", "4242424242424242", "second 0.0")


def database(path: Path, journal: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    if journal:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute('CREATE TABLE "a ""table" (number INTEGER, note TEXT, packed BLOB)')
    connection.execute('INSERT INTO "a ""table" VALUES (4242424242424242, NULL, NULL)')
    connection.execute('INSERT INTO "a ""table" VALUES (1, ?, NULL)', ("x" * 4085 + " 5555555555554444 ",))
    connection.execute('INSERT INTO "a ""table" VALUES (2, NULL, ?)', (bcd("4111111111111111"),))
    connection.execute('INSERT INTO "a ""table" VALUES (3, 378282246310005.0, NULL)')
    zipped = b"x" + gzip.compress(b"6011 1111 1111 1117", mtime=0)
    connection.execute('INSERT INTO "a ""table" VALUES (4, NULL, ?)', (zipped,))
    connection.execute("CREATE TABLE real (amount REAL)")
    connection.execute("INSERT INTO real VALUES (3566002020360505)")
    connection.commit()
    return connection


@pytest.mark.parametrize("journal", [False, True])
def test_every_value_of_a_database_is_read_its_journal_too(tmp_path: Path, journal: bool) -> None:
    connection = database(tmp_path / "some.db", journal)
    names = sorted(path.name for path in tmp_path.iterdir())
    found = {(f.digits, f.where) for f in scan.scan_file(tmp_path / "some.db")}
    assert ("4242424242424242", 'table a "table, column number') in found
    assert ("5555555555554444", 'table a "table, column note') in found
    assert ("4111111111111111", 'table a "table, column packed') in found
    assert ("3566002020360505", "table real, column amount") in found
    assert ("6011111111111117", 'table a "table, column packed: gzip at byte 1: byte 0') in found
    assert sorted(path.name for path in tmp_path.iterdir()) == names  # nothing was written beside it
    connection.close()


def packed(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    if name == "tar":
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            member = tarfile.TarInfo("notes.txt")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    elif name == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("word/document.xml", content)
    return buffer.getvalue() or {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}[name](
        content
    )


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zip", "tar"])
def test_archives_are_opened_also_inside_each_other(tmp_path: Path, name: str) -> None:
    content = b"some text, then 4242 4242 4242 4242\n"
    (tmp_path / "a").write_bytes(packed(name, content))
    (tmp_path / "b").write_bytes(packed("zip", packed(name, content)))
    for file in ("a", "b"):
        assert {f.digits for f in scan.scan_file(tmp_path / file)} == {"4242424242424242"}


def test_what_is_packed_is_read_as_far_as_it_goes_and_wherever_it_begins(tmp_path: Path) -> None:
    """A log that is being written, one with something behind it, rotated logs in an archive, an installer."""
    text = b"4242 4242 4242 4242\n" + bytes(range(256)) * 30
    for name in ("gzip", "bzip2", "xz"):
        whole = packed(name, text)
        (tmp_path / f"{name} and more").write_bytes(whole + b"garbage")
        (tmp_path / f"{name} in the middle").write_bytes(b"\x00" * 700 + whole + b"\x00" * 9)
        (tmp_path / f"{name} twice").write_bytes(packed(name, b"nothing") + whole)
    (tmp_path / "cut").write_bytes(gzip.compress(text * 40, mtime=0)[:-9])
    (tmp_path / "installer").write_bytes(b"MZ" + b"\x00" * 300 + packed("zip", text))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("a.log.1.gz")
        member.size = len(packed("gzip", text))
        tar.addfile(member, io.BytesIO(packed("gzip", text)))
    (tmp_path / "logs.tar.gz").write_bytes(buffer.getvalue())
    for path in tmp_path.iterdir():
        assert {f.digits for f in scan.scan_file(path)} == {"4242424242424242"}, path.name


@pytest.mark.parametrize("cut", [3, 12, 20])
def test_a_damaged_archive_is_read_as_bytes(tmp_path: Path, cut: int) -> None:
    for name in ("gzip", "bzip2", "xz", "zip"):
        (tmp_path / name).write_bytes(packed(name, b"text" * 50)[:cut] + b" 4242424242424242 ")
        assert [f.digits for f in scan.scan_file(tmp_path / name)] == ["4242424242424242"]


def test_a_number_across_two_blocks_is_found_once(tmp_path: Path) -> None:
    size = 4 << 20
    (tmp_path / "big").write_bytes(b" " * (size - 7) + b"4242424242424242" + b" " * 100)
    (found,) = scan.scan_file(tmp_path / "big")
    assert found.where == f"byte {size - 7}"


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424241",  # check digit
        "x4242424242424242",
        "4242424242424242f",
        "0.4242424242424242",
        "1.4242424242424242e-5",
        "4.242424242424242e-15",
        "1,2,3,4,2,4,2,4,2,4,2,4,2,4,2,4,2,4,2,4",
        "key=1 key=2 key=3",
        "42424242424242424242424242424242",
        "9999999999999995",  # no brand
        "1234 4242 4242 4242 4242 9999",  # a table
        "2026-11-22T08:15:32.123456Z",
        "550e8400-e29b-41d4-a716-446655440000",
        "call_aaaaaaaaaaaaaaaaaaaaaa 1763799332123",
        "+36 1 234 5678, +380 44 123 4567",
    ],
)
def test_what_only_looks_like_a_number_is_left_alone(text: str) -> None:
    assert [hit.digits for hit in hits(text.encode())] == []


def test_random_bytes_raise_no_alarm() -> None:
    noise = np.random.default_rng(7)
    assert not list(hits(noise.integers(0, 256, 4_000_000, dtype=np.uint8).tobytes()))
    assert not list(hits(base64.b64encode(noise.integers(0, 256, 400_000, dtype=np.uint8).tobytes())))


def font(outlines: bytes, names: bytes) -> bytes:
    """A TrueType file with two tables."""
    start = 12 + 2 * 16
    entries = [(b"glyf", outlines), (b"name", names)]
    directory, data = b"", b""
    for tag, content in entries:
        directory += struct.pack(">4sIII", tag, 0, start + len(data), len(content))
        data += content
    return struct.pack(">IHHHH", 0x10000, len(entries), 32, 1, 0) + directory + data


def eot(content: bytes) -> bytes:
    """The same font as a web page embeds it."""
    header = bytearray(82)
    struct.pack_into("<IIII", header, 0, len(header) + len(content), len(content), 0x20001, 0)
    header[34:36] = b"LP"
    return bytes(header) + content


@pytest.mark.parametrize("wrapped", [bytes, eot, gzip.compress])
def test_the_outlines_of_a_font_are_chance_but_nothing_else_of_it(
    tmp_path: Path, wrapped: Callable[[bytes], bytes]
) -> None:
    whole = font(b"\x16\x174242424242424242&'" * 3, b"Sans 4111111111111111 ")
    (tmp_path / "font").write_bytes(wrapped(whole) + b" 5555555555554444 ")
    found = {finding.digits for finding in scan.scan_file(tmp_path / "font")}
    assert found == {"4111111111111111", "5555555555554444"}


@pytest.mark.parametrize("head", [b"\x00\x01\x00\x00", b"\x00\x01\x00\x00\xff\xffglyf", b"LP" * 30])
def test_what_only_begins_like_a_font_is_read_whole(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "file").write_bytes(head + b" 4242424242424242 ")
    assert [finding.digits for finding in scan.scan_file(tmp_path / "file")] == ["4242424242424242"]


def test_a_table_of_numbers_is_chance_but_a_list_of_cards_is_not(tmp_path: Path) -> None:
    table = [f"45{n * 7919 % 10**14:014d}" for n in range(1, 2000)]
    (tmp_path / "table").write_text("\n".join(table))
    assert scan.scan_file(tmp_path / "table") == []
    cards = [number for number in table if is_card_number(number)]
    assert len(cards) > 100
    (tmp_path / "list").write_text("\n".join(cards))
    assert len(scan.scan_file(tmp_path / "list")) == len(cards)


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    scan.add_arguments(parser)
    return scan.run(parser.parse_args(words))


def test_the_command_masks_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text("card 5555555555554444")
    (tmp_path / "sub" / "link").symlink_to(tmp_path / "sub")
    assert command(str(tmp_path), "--json", "--count-test-cards") == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "path": str(tmp_path / "sub" / "file"),
        "where": "byte 5",
        "how": "text",
        "number": "************4444",
        "brand": "mastercard",
        "test_card": True,
    }
    assert "1 files, card numbers in 0, test cards in 1" in printed.err
    assert command(str(tmp_path)) == 0 and "5555555555554444" not in capsys.readouterr().out
    assert command(str(tmp_path / "missing")) == 2


def test_a_site_declares_its_own_test_cards_and_only_those_are_no_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("loyalty 6304000000000018 and 4539578763621486")
    assert command(str(tmp_path / "file")) == 1
    assert "card numbers in 1, test cards in 0" in capsys.readouterr().err
    (tmp_path / "ours").write_text("# ours\n6304000000000018  # a loyalty card\n\n")
    assert command(str(tmp_path / "file"), "--test-cards", str(tmp_path / "ours")) == 1
    printed = capsys.readouterr()
    assert "1486 (visa, text)" in printed.out and "0018 (maestro, text, a test card)" in printed.out
    (tmp_path / "ours").write_text("6304000000000018\n4539578763621486")
    assert command(str(tmp_path / "file"), "--test-cards", str(tmp_path / "ours")) == 0
    with pytest.raises(SettingsError, match="cannot be read"):
        command(str(tmp_path), "--test-cards", str(tmp_path / "missing"))


def test_the_project_s_own_tree_raises_no_alarm() -> None:
    """Every file that is the project's, against the goal of one false alarm in 10,000 files: so none."""
    root = Path(__file__).parents[3]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout
    files = [path for name in listed.decode().split("\0") if name and (path := root / name).is_file()]
    assert len(files) > 400
    declared = (root / "tests" / "assets" / "test-cards.txt").read_text()
    alarms = [
        f"{path.relative_to(root)}: {finding.where}"
        for path in files
        for finding in scan.scan_file(path)
        if not is_test_number(finding.digits) and finding.digits not in declared
    ]
    assert alarms == []
