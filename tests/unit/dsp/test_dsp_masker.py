"""The masker as a call uses it: keys vanish, speech stays, joining and leaving are not heard."""

import numpy as np
import pytest

import dsp

FRAME = 160


def run(masker, pcm, frame=FRAME):
    return np.concatenate([masker.process(pcm[at : at + frame]) for at in range(0, pcm.size, frame)])


def voice(seconds, rate=8000, seed=1):
    """Something like a voice: gliding harmonics with formants, in syllables."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.7 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    wave = sum(
        np.sin(k * phase + rng.uniform(0, 6)) * 4000 / (1 + ((k * 120 - 450) / 250) ** 2)
        for k in range(1, 28)
    )
    return np.asarray(wave * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s)), dtype=np.int16)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("level_dbm0", [-6.0, -20.0, -38.0])
def test_not_a_sample_of_a_key_is_heard(rate, level_dbm0):
    masker = dsp.ToneMasker(rate)
    pcm = np.concatenate(
        [dsp.silence(0.3, rate), dsp.dtmf_string(dsp.SYMBOLS, 0.07, 0.05, level_dbm0, sample_rate_hz=rate)]
    )
    assert not run(masker, pcm, rate // 50).any()
    assert masker.muted_samples > 0.5 * pcm.size


@pytest.mark.parametrize(
    "tone",
    [
        pytest.param(dsp.dtmf_tone("5", 0.015), id="too short"),
        pytest.param(dsp.dtmf_tone("5", 0.1, -46.0), id="too weak"),
        pytest.param(dsp.dtmf_tone("5", 0.1, -15.0, 20.0), id="too twisted"),
        pytest.param(dsp.dtmf_tone("5", 0.1, -10.0, low_error=0.035, high_error=-0.035), id="off frequency"),
        pytest.param(dsp.dtmf_tone("5", 0.1, -40.0, 60.0), id="high tone alone"),
        pytest.param(dsp.dtmf_tone("5", 0.1, -40.0, -60.0), id="low tone alone"),
    ],
)
@pytest.mark.parametrize("phase", range(0, 160, 23))
def test_what_no_detector_would_call_a_key_is_masked_too(tone, phase):
    pcm = np.concatenate([dsp.silence(0.3), dsp.silence(phase / 8000), tone, dsp.silence(0.2)])
    assert "5" not in [symbol for symbol, _, _ in dsp.detect(pcm)] or tone.size > 400
    out = run(dsp.ToneMasker(), pcm).astype(int)
    assert np.abs(out).max() <= np.abs(tone.astype(int)).max() * 10 ** (-40 / 20)


@pytest.mark.parametrize("phase", range(0, 160, 23))
@pytest.mark.parametrize("begin_ms", [6, 8, 12, 16, 80, 110, 126])
def test_the_pieces_that_a_lost_packet_leaves_of_a_key_are_masked(begin_ms, phase):
    """The gap is zeroed, or concealed by the packet before it; a piece before or behind it is no key."""
    tone = dsp.dtmf_tone("6", 0.15, -12.0, phase_rad=float(phase))
    pcm = np.concatenate([dsp.silence(0.2 + phase / 8000), tone, dsp.silence(0.2)])
    gap = 1600 + phase + 8 * begin_ms
    for concealed in (np.zeros(160, dtype=np.int16), pcm[gap - 160 : gap] // 2):
        pcm[gap : gap + 160] = concealed
        whole = pcm[: pcm.size // FRAME * FRAME]
        out = run(dsp.ToneMasker(frame_ms=20), whole).astype(int)
        assert np.abs(out).max() <= np.abs(tone.astype(int)).max() * 10 ** (-40 / 20)


def test_speech_passes_unchanged_but_late():
    pcm = voice(4.0)
    masker = dsp.ToneMasker()
    out = run(masker, pcm)
    late = masker.delay_samples
    assert late == 320
    settled = slice(2 * late, None)
    assert np.array_equal(out[late:][settled], pcm[:-late][settled])
    assert masker.muted_samples == late  # its empty delay line


def test_speech_around_a_key_stays():
    pcm = voice(3.0)
    tone = dsp.dtmf_tone("8", 0.08, -6.0)
    pcm[12000 : 12000 + tone.size] = tone
    out = run(dsp.ToneMasker(), pcm)
    assert np.array_equal(out[1000:11400], pcm[680:11080])
    assert not out[12320 : 12320 + tone.size].any()
    assert np.array_equal(out[14500:], pcm[14180:-320])


@pytest.mark.parametrize("replacement", ["silence", "comfort", "tone"])
def test_every_key_sounds_the_same_behind_the_masker(replacement):
    heard = []
    for symbol in dsp.SYMBOLS:
        pcm = np.concatenate([dsp.silence(0.3), dsp.dtmf_string(symbol, 0.08, 0.2)])
        heard.append(run(dsp.ToneMasker(replacement=replacement), pcm))
    assert all(np.array_equal(heard[0], other) for other in heard[1:])
    assert bool(heard[0].any()) == (replacement != "silence")
    assert "".join(symbol for symbol, _, _ in dsp.detect(heard[0])) == ""


def test_comfort_noise_is_as_loud_as_the_line():
    noise = np.rint(np.random.default_rng(3).normal(0, dsp.dbm0_to_rms(-58.0), 24000)).astype(np.int16)
    pcm = noise.copy()
    pcm[16000:17600] = dsp.dtmf_tone("4", 0.2)
    out = run(dsp.ToneMasker(replacement="comfort"), pcm)
    assert dsp.level_dbm0(out[16500:17700]) == pytest.approx(-58.0, abs=1.5)


def largest_step(pcm):
    return int(np.abs(np.diff(pcm.astype(int))).max())


def test_joining_and_leaving_in_mid_call_make_no_click_and_lose_no_more_than_the_delay():
    pcm = voice(6.0)
    masker = dsp.ToneMasker()
    masker.release()
    masker.process(dsp.silence(0.5))  # the start of a call
    out = []
    for number, at in enumerate(range(0, pcm.size, FRAME)):
        if number == 100:
            masker.engage()
        if number == 200:
            masker.release()
        out.append(masker.process(pcm[at : at + FRAME]))
    heard = np.concatenate(out)
    assert not masker.engaged
    assert np.array_equal(heard[8000:16000], pcm[8000:16000])  # not engaged: no delay at all
    assert np.array_equal(heard[16000 + 2 * 320 : 32000], pcm[16000 + 320 : 32000 - 320])  # nothing lost
    assert np.array_equal(heard[32000 + FRAME :], pcm[32000 + FRAME :])  # and live again within a frame
    assert largest_step(heard) <= 1.3 * largest_step(pcm)


@pytest.mark.parametrize("number", range(20, 60, 3))
def test_no_moment_of_joining_or_leaving_clicks(number):
    pcm = voice(2.0)
    masker = dsp.ToneMasker()
    masker.release()
    out = [masker.process(pcm[at : at + FRAME]) for at in range(0, number * FRAME, FRAME)]
    masker.engage()
    out += [
        masker.process(pcm[at : at + FRAME]) for at in range(number * FRAME, (number + 12) * FRAME, FRAME)
    ]
    masker.release()
    out += [masker.process(pcm[at : at + FRAME]) for at in range((number + 12) * FRAME, pcm.size, FRAME)]
    assert largest_step(np.concatenate(out)) <= 1.3 * largest_step(pcm)


def test_a_key_that_sounds_while_leaving_is_masked_to_its_end():
    pcm = np.concatenate([dsp.silence(0.3), dsp.dtmf_tone("6", 0.3), dsp.silence(0.4)])
    masker = dsp.ToneMasker()
    out = []
    for at in range(0, pcm.size, FRAME):
        if at == 3200:
            masker.release()
        out.append(masker.process(pcm[at : at + FRAME]))
    assert not np.concatenate(out).any()
    assert not masker.engaged


def test_a_key_at_the_moment_of_joining_is_not_heard():
    for shift in range(0, 160, 31):
        tone = np.concatenate([dsp.silence(shift / 8000), dsp.dtmf_string("2", 0.08, 0.3)])
        assert not run(dsp.ToneMasker(), tone).any()


def test_engaging_again_takes_a_release_back():
    masker = dsp.ToneMasker()
    masker.release()
    masker.engage()
    pcm = np.concatenate([dsp.silence(0.3), dsp.dtmf_string("2", 0.1, 0.2)])
    assert not run(masker, pcm).any()
    assert masker.engaged


def test_reset_forgets_everything():
    masker = dsp.ToneMasker()
    pcm = np.concatenate([voice(0.5), dsp.dtmf_string("2", 0.1, 0.2)])
    first = run(masker, pcm)
    masker.reset()
    assert masker.muted_samples == 0
    assert np.array_equal(run(masker, pcm), first)


@pytest.mark.parametrize("delay_ms", [0, 19, 101, 40.0, True, None, 10**400])
def test_an_impossible_delay_is_refused(delay_ms):
    with pytest.raises(ValueError, match="delay_ms"):
        dsp.ToneMasker(delay_ms=delay_ms)


@pytest.mark.parametrize("replacement", ["music", "", None, b"tone", ["tone"], np.array(["tone"])])
def test_an_unknown_replacement_is_refused(replacement):
    with pytest.raises(ValueError, match="replacement"):
        dsp.ToneMasker(replacement=replacement)


def test_a_masker_of_whole_frames_takes_nothing_else():
    masker = dsp.ToneMasker(frame_ms=20)
    masker.process(voice(0.1))
    with pytest.raises(ValueError, match="whole frames"):
        masker.process(voice(0.1)[:161])


@pytest.mark.parametrize("frame_ms", [15, 0, -10, 20.0, True, "20", 1010, 10**400])
def test_an_impossible_frame_is_refused(frame_ms):
    with pytest.raises(ValueError, match="frame_ms must be a multiple of 10"):
        dsp.ToneMasker(frame_ms=frame_ms)
