"""What must hold for any sound and any way to cut it into blocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import dsp

SETTINGS = settings(max_examples=40, deadline=None)


@st.composite
def sounds(draw, rate=8000):
    """Half a second to a second of keys, noise, pauses and loud rubbish."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = []
    for _ in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from(["key", "key", "noise", "silence", "rubbish"]))
        seconds = draw(st.floats(0.005, 0.2))
        size = round(seconds * rate)
        if kind == "key":
            symbol, level = draw(st.sampled_from(dsp.SYMBOLS)), draw(st.floats(-40.0, 0.0))
            twist = draw(st.floats(-12.0, 12.0))
            parts.append(
                dsp.dtmf_tone(symbol, seconds, level, twist, rate, low_error=rng.uniform(-0.03, 0.03))
            )
        elif kind == "noise":
            parts.append(rng.normal(0, draw(st.sampled_from([3, 200, 4000])), size).astype(np.int16))
        elif kind == "silence":
            parts.append(np.zeros(size, dtype=np.int16))
        else:
            parts.append(rng.integers(-32768, 32768, size).astype(np.int16))
    return np.concatenate([*parts, np.zeros(rate // 8, dtype=np.int16)])


@st.composite
def cuts(draw):
    return draw(
        st.lists(
            st.one_of(st.integers(0, 400), st.sampled_from([1, 80, 159, 160, 161])), min_size=1, max_size=12
        )
    )


def blocks(pcm, sizes):
    at = turn = 0
    while at < pcm.size:
        size = max(sizes[turn % len(sizes)], 1 if turn % 7 == 6 else 0)
        yield pcm[at : at + size]
        at += size
        turn += 1


@SETTINGS
@given(sounds(), cuts(), st.sampled_from([None, 0.02, 0.18, 0.3]))
def test_any_split_gives_the_same_keys(pcm, sizes, part_s):
    """Also where the detector keeps so little of a long block that it goes round its memory."""
    whole, split = dsp.DtmfDetector(part_s=part_s), dsp.DtmfDetector()
    expected = whole.process(pcm) + whole.flush()
    assert [
        event for block in blocks(pcm, sizes) for event in split.process(block)
    ] + split.flush() == expected


@SETTINGS
@given(sounds(rate=16000), cuts())
def test_any_split_gives_the_same_keys_at_16_khz(pcm, sizes):
    whole, split = dsp.DtmfDetector(16000), dsp.DtmfDetector(16000)
    expected = whole.process(pcm) + whole.flush()
    assert [
        event for block in blocks(pcm, sizes) for event in split.process(block)
    ] + split.flush() == expected


@settings(max_examples=25, deadline=None)
@given(
    st.lists(sounds(), min_size=1, max_size=5),
    cuts(),
    st.sampled_from([0, 11, 60, 63]),
    st.sampled_from([20, 60, 80, 1000]),
    st.sampled_from([0, 1, 3]),
)
def test_a_bank_is_bit_for_bit_its_single_detectors(sound_of, sizes, extra, decide_every_ms, ask_every):
    """Whatever the bank's size, how much it judges together, and how often it is asked what is down.

    ``extra`` silent channels bring the bank to sizes that take another way through the BLAS.
    """
    length = max(pcm.size for pcm in sound_of)
    audio = np.zeros((len(sound_of) + extra, length), dtype=np.int16)
    for row, pcm in zip(audio, sound_of, strict=False):
        row[: pcm.size] = pcm
    bank, got = dsp.DtmfDetectorBank(audio.shape[0], decide_every_ms=decide_every_ms), []
    for turn, columns in enumerate(blocks(np.arange(length), sizes)):
        got += bank.process(audio[:, columns])
        if ask_every and turn % ask_every == 0:
            assert len(bank.active) == audio.shape[0]
    got += bank.flush()
    for channel, row in enumerate(audio):
        single = dsp.DtmfDetector()
        assert [event for place, event in got if place == channel] == single.process(row) + single.flush()


@SETTINGS
@given(sounds(), cuts(), st.sampled_from(["silence", "comfort", "tone"]))
def test_the_masker_returns_as_much_as_it_takes_whatever_the_split(pcm, sizes, replacement):
    whole, split = (dsp.ToneMasker(replacement=replacement) for _ in range(2))
    expected = whole.process(pcm)
    parts = []
    for block in blocks(pcm, sizes):
        parts.append(split.process(block))
        assert parts[-1].shape == block.shape and parts[-1].dtype == np.int16
    assert np.array_equal(np.concatenate(parts), expected)
    assert whole.muted_samples == split.muted_samples


@SETTINGS
@given(sounds(), st.data())
def test_the_masker_cannot_see_the_future(pcm, data):
    now = data.draw(st.integers(0, pcm.size))
    other = pcm.copy()
    other[now:] = np.random.default_rng(now).integers(-32768, 32768, pcm.size - now).astype(np.int16)
    assert np.array_equal(dsp.ToneMasker().process(pcm)[:now], dsp.ToneMasker().process(other)[:now])


@SETTINGS
@given(sounds(), sounds(16000), st.sampled_from([10, 20, 30]))
def test_a_masker_of_whole_frames_lets_the_same_sound_through_sooner(pcm, wide, frame_ms):
    """10 ms less of delay, and not one sample less muted."""
    for rate, sound in ((8000, pcm), (16000, wide)):
        frame = rate * frame_ms // 1000
        sound = sound[: sound.size // frame * frame]
        usual, framed = dsp.ToneMasker(rate), dsp.ToneMasker(rate, frame_ms=frame_ms, delay_ms=30)
        sooner = usual.delay_samples - framed.delay_samples
        assert sooner == 0.010 * rate
        out = np.concatenate([framed.process(part) for part in sound.reshape(-1, frame)])
        assert np.array_equal(out[: out.size - sooner], usual.process(sound)[sooner:])


@SETTINGS
@given(sounds())
def test_the_masker_only_ever_takes_away(pcm):
    """Behind a masker that replaces by silence, every sample is a sample of 40 ms ago, or nearer to zero."""
    masker = dsp.ToneMasker()
    out = masker.process(pcm).astype(int)
    late = np.concatenate(
        [np.zeros(masker.delay_samples, dtype=int), pcm[: -masker.delay_samples].astype(int)]
    )
    assert np.all(np.abs(out) <= np.abs(late))
    assert np.all(out * late >= 0)


@SETTINGS
@given(sounds(), st.lists(st.tuples(st.integers(0, 5000), st.booleans()), max_size=6))
def test_engaging_and_releasing_at_any_time_keeps_the_length(pcm, switches):
    masker = dsp.ToneMasker()
    out = []
    for block in blocks(pcm, [160]):
        for at, engage in switches:
            if at // 160 == len(out):
                masker.engage() if engage else masker.release()
        out.append(masker.process(block))
        assert out[-1].shape == block.shape


@SETTINGS
@given(st.lists(st.integers(-32768, 32767), max_size=300))
def test_g711_survives_its_own_output(samples):
    pcm = np.array(samples, dtype=np.int16)
    for encode, decode in ((dsp.encode_alaw, dsp.decode_alaw), (dsp.encode_ulaw, dsp.decode_ulaw)):
        once = decode(encode(pcm))
        assert np.array_equal(decode(encode(once)), once)
        assert np.array_equal(np.sign(once)[np.abs(pcm) > 8], np.sign(pcm)[np.abs(pcm) > 8])
