"""G.711 against the recommendation: its known codes and what a second coding must leave alone."""

import numpy as np
import pytest

import dsp
from dsp.levels import ULAW_FULL_SCALE_DBM0

EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)
EVERY_CODE = np.arange(256).astype(np.uint8)

LAWS = [
    pytest.param(dsp.encode_alaw, dsp.decode_alaw, id="alaw"),
    pytest.param(dsp.encode_ulaw, dsp.decode_ulaw, id="ulaw"),
]


def test_the_test_tone_of_the_recommendation_is_0_dbm0():
    # ITU-T G.711 tables 5 and 6: these eight codes, repeated, are a 1 kHz sine of 0 dBm0.
    alaw = np.tile(np.array([0x34, 0x21, 0x21, 0x34, 0xB4, 0xA1, 0xA1, 0xB4], dtype=np.uint8), 100)
    ulaw = np.tile(np.array([0x1E, 0x0B, 0x0B, 0x1E, 0x9E, 0x8B, 0x8B, 0x9E], dtype=np.uint8), 100)
    assert abs(dsp.level_dbm0(dsp.decode_alaw(alaw))) < 0.02
    assert abs(dsp.level_dbm0(dsp.decode_ulaw(ulaw), ULAW_FULL_SCALE_DBM0)) < 0.02


def test_ends_of_the_scale():
    assert dsp.decode_alaw(np.array([0xAA, 0x2A, 0xD5, 0x55], dtype=np.uint8)).tolist() == [
        32256,
        -32256,
        8,
        -8,
    ]
    assert dsp.decode_ulaw(np.array([0x80, 0x00, 0xFF, 0x7F], dtype=np.uint8)).tolist() == [
        32124,
        -32124,
        0,
        0,
    ]


@pytest.mark.parametrize(("encode", "decode"), LAWS)
def test_coding_twice_changes_nothing(encode, decode):
    once = decode(encode(EVERY_SAMPLE))
    assert np.array_equal(decode(encode(once)), once)
    assert np.array_equal(decode(encode(decode(EVERY_CODE))), decode(EVERY_CODE))


@pytest.mark.parametrize(("encode", "decode"), LAWS)
def test_every_sample_lands_on_a_nearby_step(encode, decode):
    error = np.abs(decode(encode(EVERY_SAMPLE)).astype(int) - EVERY_SAMPLE)
    clipped = np.abs(EVERY_SAMPLE.astype(int)) > 31744
    assert np.all(error[~clipped] <= np.maximum(np.abs(EVERY_SAMPLE[~clipped].astype(int)) / 16, 16))


@pytest.mark.parametrize(("encode", "decode"), LAWS)
def test_odd_input_is_refused(encode, decode):
    for odd in (np.zeros(4), np.zeros((2, 4), dtype=np.int16), [1, 2], np.zeros(4, dtype=np.uint8)):
        with pytest.raises(ValueError, match="samples must"):
            encode(odd)
    for odd in (np.zeros(4, dtype=np.int16), np.zeros((2, 2), dtype=np.uint8), b"\x00"):
        with pytest.raises(ValueError, match="codes must"):
            decode(odd)
