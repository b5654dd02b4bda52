"""`paycall dtmf`: what a person at a terminal gets for a file."""

import argparse
import resource
import struct
import wave

import numpy as np
import pytest

import dsp
from paycall import dtmf_command


def call(*arguments):
    parser = argparse.ArgumentParser()
    dtmf_command.add_arguments(parser)
    return dtmf_command.run(parser.parse_args([str(argument) for argument in arguments]))


def save(path, *channels, rate=8000, width=2):
    with wave.open(str(path), "wb") as target:
        target.setnchannels(len(channels))
        target.setsampwidth(width)
        target.setframerate(rate)
        target.writeframes(np.stack(channels, axis=1).tobytes())
    return path


def keyed(keys, rate=8000):
    return np.concatenate([dsp.silence(0.2, rate), dsp.dtmf_string(keys, 0.08, 0.12, sample_rate_hz=rate)])


@pytest.mark.parametrize("rate", [8000, 16000])
def test_keys_with_times_level_and_twist(tmp_path, capsys, rate):
    assert call(save(tmp_path / "call.wav", keyed("15#", rate), rate=rate)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("call.wav: 15#")
    assert len(lines) == 4
    assert lines[2].split()[:2] == ["5", "0.400"] and "80 ms" in lines[2]
    assert "-10.0 dBm0" in lines[2] and "twist  +0.0 dB" in lines[2]


@pytest.mark.parametrize(("name", "encode"), [("a.alaw", dsp.encode_alaw), ("u.UL", dsp.encode_ulaw)])
def test_raw_g711(tmp_path, capsys, name, encode):
    path = tmp_path / name
    path.write_bytes(encode(keyed("90")).tobytes())
    assert call(path) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(": 90")


def test_each_channel_by_itself(tmp_path, capsys):
    one, two = keyed("12"), keyed("34")
    assert call(save(tmp_path / "both.wav", one, two)) == 0
    out = capsys.readouterr().out
    assert "both.wav, channel 1: 12\n" in out and "both.wav, channel 2: 34\n" in out


def test_a_sound_without_keys(tmp_path, capsys):
    assert call(save(tmp_path / "quiet.wav", dsp.silence(1.0))) == 0
    assert capsys.readouterr().out.endswith("quiet.wav: no keys\n")


def test_the_masked_file_is_in_step_and_has_no_keys(tmp_path, capsys):
    hum = (900 * np.sin(2 * np.pi * 200 / 8000 * np.arange(16000))).astype(np.int16)
    pcm = hum.copy()
    pcm[8000:8800] = dsp.dtmf_tone("7", 0.1)
    out = tmp_path / "masked.wav"
    assert call(save(tmp_path / "call.wav", pcm), "--mask", out) == 0
    sound = dtmf_command.read(out)
    assert sound.channels.shape == (1, 16000)
    assert np.array_equal(sound.channels[0, 1000:7000], hum[1000:7000])
    assert not sound.channels[0, 8000:8800].any()
    capsys.readouterr()
    assert call(out) == 0
    assert "no keys" in capsys.readouterr().out


def test_a_picture(tmp_path):
    path = tmp_path / "keys.png"
    assert call(save(tmp_path / "call.wav", keyed("42")), "--plot", path) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.wav", b"hello, world", "not a WAV file of 16-bit PCM"),
        ("empty.wav", b"", "not a WAV file of 16-bit PCM"),
        (None, None, "No such file"),
    ],
)
def test_what_is_no_sound_is_said_in_a_line(tmp_path, capsys, name, content, reason):
    path = tmp_path / (name or "missing.wav")
    if content is not None:
        path.write_bytes(content)
    assert call(path) == 1
    captured = capsys.readouterr()
    assert reason in captured.err and captured.err.count("\n") == 1


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path, capsys, channels):
    path = save(tmp_path / "cut.wav", *[keyed("15")] * channels)
    path.write_bytes(path.read_bytes()[: 44 + channels * 2 * 3000 + 1])
    assert call(path, "--mask", tmp_path / "masked.wav", "--plot", tmp_path / "cut.png") == 0
    captured = capsys.readouterr()
    assert captured.out.count(": 1\n") == channels and not captured.err


def test_a_picture_of_no_known_kind_is_said_in_a_line(tmp_path, capsys):
    assert call(save(tmp_path / "call.wav", keyed("4")), "--plot", tmp_path / "keys.nope") == 1
    captured = capsys.readouterr()
    assert "--plot takes a name" in captured.err and captured.err.count("\n") == 1


def test_other_rates_and_widths_are_refused(tmp_path, capsys):
    assert call(save(tmp_path / "cd.wav", dsp.silence(0.1), rate=44100)) == 1
    assert call(save(tmp_path / "bytes.wav", np.zeros(100, dtype=np.uint8), width=1)) == 1
    assert capsys.readouterr().err.count("16 bits a sample") == 2


def test_one_bad_file_does_not_hide_the_others(tmp_path, capsys):
    good = save(tmp_path / "good.wav", keyed("8"))
    assert call(tmp_path / "missing.wav", good) == 1
    assert "good.wav: 8\n" in capsys.readouterr().out


def test_a_mask_needs_one_file(tmp_path, capsys):
    good = save(tmp_path / "good.wav", keyed("8"))
    assert call(good, good, "--mask", tmp_path / "out.wav") == 2
    assert "one FILE" in capsys.readouterr().err


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
@pytest.mark.parametrize("option", ["--mask", "--plot"])
def test_no_output_takes_the_place_of_the_input(tmp_path, capsys, option, link):
    call_wav = save(tmp_path / "call.wav", keyed("8"))
    before = call_wav.read_bytes()
    out = tmp_path / "out.png"
    if link == "same":
        out = tmp_path / "." / "call.wav"
    elif link == "symbolic":
        out.symlink_to(call_wav)
    else:
        out.hardlink_to(call_wav)
    assert call(call_wav, option, out) == 2
    captured = capsys.readouterr()
    assert "files of their own" in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert call_wav.read_bytes() == before


def test_the_picture_does_not_take_the_place_of_the_masked_sound(tmp_path, capsys):
    out = tmp_path / "out.png"
    assert call(save(tmp_path / "call.wav", keyed("8")), "--mask", out, "--plot", out) == 2
    assert "files of their own" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("option", ["--mask", "--plot"])
@pytest.mark.parametrize("place", ["missing/out.png", "folder.png", "call.wav/out.png", "/dev/full"])
def test_what_cannot_be_written_is_said_in_a_line_that_names_it(tmp_path, capsys, option, place):
    if place == "/dev/full" and option == "--plot":
        (tmp_path / "full.png").symlink_to(place)
        place = "full.png"
    (tmp_path / "folder.png").mkdir()
    call_wav = save(tmp_path / "call.wav", keyed("8"))
    there = sorted(tmp_path.rglob("*"))
    assert call(call_wav, option, tmp_path / place) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"paycall dtmf: {tmp_path / place}: ") and captured.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == there


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path, capsys):
    call_wav, out = save(tmp_path / "call.wav", keyed("8")), tmp_path / "out.wav"
    out.write_bytes(b"what was there")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        assert call(call_wav, "--mask", out) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "too large" in capsys.readouterr().err
    assert out.read_bytes() == b"what was there"
    assert sorted(tmp_path.iterdir()) == [call_wav, out]


def test_a_link_stays_one_and_the_file_behind_it_is_replaced(tmp_path):
    behind, out = tmp_path / "behind.wav", tmp_path / "out.wav"
    behind.write_bytes(b"")
    behind.chmod(0o600)
    out.symlink_to(behind)
    assert call(save(tmp_path / "call.wav", keyed("8")), "--mask", out) == 0
    assert out.is_symlink() and behind.stat().st_mode & 0o777 == 0o600
    assert dtmf_command.read(behind).channels.shape[0] == 1


def wav(codec, bits, data, *, claims=None):
    """A WAV file with a header of one's own."""
    kind = struct.pack("<HHIIHH", codec, 1, 8000, 8000 * bits // 8, bits // 8, bits)
    size = len(data) if claims is None else claims
    return (
        b"RIFF"
        + struct.pack("<I", min(36 + size, 2**32 - 1))
        + b"WAVEfmt \x10\0\0\0"
        + kind
        + b"data"
        + (struct.pack("<I", size) + data)
    )


@pytest.mark.parametrize(
    ("codec", "bits"),
    [
        pytest.param(1, 24, id="24 bit"),
        pytest.param(1, 32, id="32 bit"),
        pytest.param(3, 32, id="float"),
        pytest.param(6, 8, id="A-law"),
        pytest.param(7, 8, id="mu-law"),
    ],
)
def test_sound_of_another_kind_is_refused_in_a_line_and_nothing_is_written(tmp_path, capsys, codec, bits):
    path, out = tmp_path / "other.wav", tmp_path / "out.wav"
    path.write_bytes(wav(codec, bits, bytes(2400)))
    assert call(path, "--mask", out) == 1
    captured = capsys.readouterr()
    assert "16" in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert not out.exists()


@pytest.mark.parametrize("claims", [100_000, 2**32 - 1])
def test_a_file_that_claims_more_than_it_holds_is_read_as_far_as_it_goes(tmp_path, capsys, claims):
    path = tmp_path / "stream.wav"
    path.write_bytes(wav(1, 16, keyed("15").tobytes(), claims=claims))
    assert call(path) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(": 15")


@pytest.mark.parametrize("size", [4, 11, 20, 35, 40, 43])
def test_a_header_that_was_cut_short_is_no_sound(tmp_path, capsys, size):
    path = tmp_path / "cut.wav"
    path.write_bytes(wav(1, 16, keyed("15").tobytes())[:size])
    assert call(path) == 1
    captured = capsys.readouterr()
    assert "not a WAV file of 16-bit PCM" in captured.err and captured.err.count("\n") == 1
