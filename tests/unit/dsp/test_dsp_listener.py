"""The second pair of ears hears every key that gets through, and little else."""

import numpy as np
import pytest

import dsp


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("level_dbm0", [-5.0, -20.0, -38.0])
def test_it_counts_every_key(rate, level_dbm0):
    listener = dsp.ToneListener(rate)
    pcm = dsp.dtmf_string(dsp.SYMBOLS, 0.06, 0.05, level_dbm0, sample_rate_hz=rate)
    assert listener.process(pcm) == 16
    assert listener.keys_heard == 16


@pytest.mark.parametrize("size", [1, 7, 160, 333])
def test_blocks_do_not_matter(size):
    pcm = dsp.dtmf_string("5519", 0.05, 0.05)
    listener = dsp.ToneListener()
    assert sum(listener.process(pcm[at : at + size]) for at in range(0, pcm.size, size)) == 4


def test_noise_and_silence_are_no_keys():
    noise = np.random.default_rng(1).normal(0, 3000, 80000).astype(np.int16)
    listener = dsp.ToneListener()
    assert listener.process(noise) == 0
    assert listener.process(dsp.silence(2.0)) == 0


def test_it_shares_no_code_with_the_detector():
    import dsp.listener as module

    names = {value.__module__ for value in vars(module).values() if hasattr(value, "__module__")}
    assert not any(name.startswith("dsp.") and name != "dsp.listener" for name in names)
