"""Talk-off: recorded speech must not sound like keys.

A seeded part of what `make bench-dsp` measures there on eight hours and on an hour of mined speech:
48 minutes of all languages at four speeds and levels, and three minutes of the most tone-like
fragments of every tenth recording.
"""

from dsp_lab import measure, speech


def test_recorded_speech_holds_no_keys():
    counts, hours = measure.false_keys(speech.tapes(0.8, stride=9))
    assert hours > 0.79
    assert counts["dsp"] == 0


def test_the_most_tone_like_speech_fools_it_no_more_than_spandsp():
    tape = speech.adversarial_tape(3.0, (0.85, 1.0, 1.2), stride=10)
    counts, hours = measure.false_keys([tape])
    assert hours > 0.04
    assert counts["dsp"] <= counts["spandsp"]
