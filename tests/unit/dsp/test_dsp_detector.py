"""The detector as a call uses it: keys, their times and levels, and what it refuses."""

import numpy as np
import pytest

import dsp

ALL_KEYS = "1234567890*#ABCD"


def keys_of(pcm, rate=8000):
    return "".join(symbol for symbol, _, _ in dsp.detect(pcm, rate))


@pytest.mark.parametrize("rate", [8000, 16000])
def test_all_sixteen_keys_with_their_times(rate):
    lead = dsp.silence(0.25, rate)
    found = dsp.detect(
        np.concatenate([lead, dsp.dtmf_string(ALL_KEYS, 0.08, 0.06, sample_rate_hz=rate)]), rate
    )
    assert "".join(symbol for symbol, _, _ in found) == ALL_KEYS
    for number, (_, start_s, end_s) in enumerate(found):
        assert start_s == pytest.approx(0.25 + 0.14 * number, abs=0.003)
        assert end_s == pytest.approx(0.25 + 0.14 * number + 0.08, abs=0.003)


@pytest.mark.parametrize(("level_dbm0", "twist_db"), [(-8.0, 0.0), (-20.0, 3.0), (-15.0, -6.0)])
def test_level_and_twist_are_measured(level_dbm0, twist_db):
    detector = dsp.DtmfDetector()
    events = detector.process(dsp.dtmf_string("7", 0.1, 0.1, level_dbm0, twist_db))
    assert [event.symbol for event in events] == ["7"]
    assert events[0].level_dbm0 == pytest.approx(level_dbm0, abs=0.3)
    assert events[0].twist_db == pytest.approx(twist_db, abs=0.3)


def test_level_is_right_beside_the_frequency_too():
    detector = dsp.DtmfDetector()
    tone = dsp.dtmf_tone("D", 0.1, -10.0, 0.0, low_error=0.015, high_error=0.015)
    (event,) = detector.process(np.concatenate([tone, dsp.silence(0.1)]))
    assert event.level_dbm0 == pytest.approx(-10.0, abs=0.3)
    assert event.twist_db == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("phase", range(0, 160, 20))
def test_a_key_is_active_from_about_40_ms_on_until_it_ends(phase):
    pcm = np.concatenate([dsp.silence(0.2), dsp.silence(phase / 8000), dsp.dtmf_string("5", 0.2, 0.2)])
    detector, active_ms, ended_ms = dsp.DtmfDetector(), [], None
    for at in range(0, pcm.size, 160):
        events = detector.process(pcm[at : at + 160])
        after_onset_ms = (at + 160 - 1600 - phase) / 8
        if detector.active == "5":
            active_ms.append(after_onset_ms)
        if events:
            ended_ms = after_onset_ms
    assert 30 <= active_ms[0] <= 65  # in steps of 20 ms frames
    assert active_ms[-1] < ended_ms <= 200 + 65
    assert detector.active is None


def test_the_same_key_twice_is_two_keys():
    assert keys_of(dsp.dtmf_string("5555", 0.04, 0.04)) == "5555"


def test_a_held_key_is_one_key():
    found = dsp.detect(np.concatenate([dsp.dtmf_tone("9", 5.0), dsp.silence(0.1)]))
    assert len(found) == 1
    assert found[0][1:] == pytest.approx((0.0, 5.0), abs=0.004)


def test_a_key_right_behind_another_ends_it():
    pcm = np.concatenate([dsp.dtmf_tone("1", 0.1), dsp.dtmf_tone("6", 0.1), dsp.silence(0.1)])
    (first, second) = dsp.detect(pcm)
    assert (first[0], second[0]) == ("1", "6")
    assert first[2] == pytest.approx(0.1, abs=0.006) and second[1] == pytest.approx(0.1, abs=0.006)


def test_flush_returns_the_key_that_is_still_down_and_starts_anew():
    detector = dsp.DtmfDetector()
    assert detector.process(dsp.dtmf_tone("3", 0.1)) == []
    assert [event.symbol for event in detector.flush()] == ["3"]
    assert detector.active is None
    assert detector.process(dsp.dtmf_string("4", 0.1, 0.1))[0].onset_sample < 30


@pytest.mark.parametrize("pcm", [np.zeros(0, dtype=np.int16), dsp.silence(1.0)])
def test_nothing_has_no_keys(pcm):
    assert dsp.detect(pcm) == []


def test_an_event_does_not_print_its_key():
    (event,) = dsp.DtmfDetector().process(dsp.dtmf_string("8", 0.1, 0.1))
    assert "symbol" not in repr(event) and "'8'" not in repr(event)


ODD = [
    pytest.param([0, 1, 2], id="list"),
    pytest.param(b"\x00\x00", id="bytes"),
    pytest.param(np.zeros(160), id="float"),
    pytest.param(np.full(160, np.nan), id="nan"),
    pytest.param(np.zeros(160, dtype=np.int32), id="int32"),
    pytest.param(np.zeros(160, dtype=np.uint16), id="uint16"),
    pytest.param(np.zeros((160, 2), dtype=np.int16), id="stereo"),
    pytest.param(np.int16(3), id="scalar"),
    pytest.param(np.array(3, dtype=np.int16), id="0-d"),
    pytest.param(np.zeros((2, 2, 40), dtype=np.int16), id="3-d"),
    pytest.param(np.zeros(160, dtype=complex), id="complex"),
    pytest.param(np.zeros(160, dtype=object), id="objects"),
    pytest.param(np.zeros(160, dtype=bool), id="bool"),
    pytest.param(np.ma.array(np.zeros(160, dtype=np.int16), mask=True), id="masked"),
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("make", [dsp.DtmfDetector, dsp.ToneMasker, dsp.ToneListener])
def test_odd_input_is_refused_and_changes_nothing(make, odd):
    pcm = np.concatenate([dsp.silence(0.1), dsp.dtmf_string("159", 0.07, 0.06), dsp.silence(0.1)])
    undisturbed, disturbed = make(), make()
    for at in range(0, pcm.size, 160):
        with pytest.raises(ValueError, match="samples must"):
            disturbed.process(odd)
        assert np.array_equal(
            np.array(undisturbed.process(pcm[at : at + 160]), dtype=object),
            np.array(disturbed.process(pcm[at : at + 160]), dtype=object),
        )


@pytest.mark.parametrize("rate", [0, 11025, 44100, 8000.5, True, "8000", None, [8000], np.array([8000])])
@pytest.mark.parametrize("make", [dsp.DtmfDetector, dsp.ToneMasker, dsp.ToneListener])
def test_other_rates_are_refused(make, rate):
    with pytest.raises(ValueError, match="8000 or 16000"):
        make(rate)


@pytest.mark.parametrize("channels", [0, -1, 2.0, True, "2", 10**9, 10**400])
def test_a_bank_needs_channels(channels):
    with pytest.raises(ValueError, match="channels"):
        dsp.DtmfDetectorBank(channels)


@pytest.mark.parametrize("part_s", [-0.1, np.nan, np.inf, 1e308, 10**400, True, "1", [1.0]])
@pytest.mark.parametrize("make", [dsp.DtmfDetector, lambda *a, **k: dsp.DtmfDetectorBank(1, *a, **k)])
def test_a_length_of_a_block_that_is_none_is_refused(make, part_s):
    with pytest.raises(ValueError, match="part_s"):
        make(part_s=part_s)


@pytest.mark.parametrize("decide_every_ms", [0, 10, 30, 1020, 20.0, True, "20", None])
def test_a_bank_decides_in_steps_of_20_ms(decide_every_ms):
    with pytest.raises(ValueError, match="decide_every_ms"):
        dsp.DtmfDetectorBank(2, decide_every_ms=decide_every_ms)


def test_a_bank_that_decides_less_often_knows_at_once_if_asked():
    pcm = np.stack([dsp.silence(0.4), np.concatenate([dsp.silence(0.1), dsp.dtmf_string("5", 0.1, 0.2)])])
    bank, prompt = dsp.DtmfDetectorBank(2, decide_every_ms=1000), dsp.DtmfDetectorBank(2, decide_every_ms=20)
    seen, events = set(), []
    for at in range(0, pcm.shape[1], 160):
        events += bank.process(pcm[:, at : at + 160])
        prompt.process(pcm[:, at : at + 160])
        assert bank.active == prompt.active
        seen.add(bank.active[1])
    assert seen == {None, "5"}
    assert [(channel, event.symbol) for channel, event in events + bank.flush()] == [(1, "5")]


def test_a_bank_takes_one_row_a_channel():
    bank = dsp.DtmfDetectorBank(2)
    for odd in (np.zeros((3, 160), dtype=np.int16), np.zeros(160, dtype=np.int16), np.zeros((2, 160))):
        with pytest.raises(ValueError, match="samples"):
            bank.process(odd)


def test_any_byte_order_and_stride_is_the_same_sound():
    pcm = dsp.dtmf_string("147", 0.06, 0.06)
    doubled = np.repeat(pcm, 2)[::2]
    assert dsp.detect(pcm.astype(">i2")) == dsp.detect(doubled) == dsp.detect(pcm)
