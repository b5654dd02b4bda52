"""How much of the keys is left in a sound: measured as an eavesdropper would.

Both measures know when each key was pressed; a masker that resists them resists anyone who has to
guess the moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dsp.checks import Floats, Pcm, check_number, check_pcm, check_rate
from dsp.levels import dbm0_to_peak
from dsp.tones import HIGH_HZ, LOW_HZ, SYMBOLS, frequencies_hz

Moment = tuple[float, float]
_STRETCH_S = 0.020
_LONGEST_S = 1e6


def _rows(what: str, rows: Any, width: int) -> list[tuple[Any, ...]]:
    """``rows`` as tuples; ``ValueError`` that asks for ``what`` unless each has this many entries."""
    try:
        found = [tuple(row) for row in rows]
    except TypeError:
        found = [()]
    if any(len(row) != width for row in found):
        raise ValueError(f"give {what}")
    return found


def _span(samples: Pcm, moment: Moment, sample_rate_hz: int) -> Floats:
    edges_s = [check_number("the edges of a moment", edge, -_LONGEST_S, _LONGEST_S) for edge in moment]
    begin, end = (max(round(edge_s * sample_rate_hz), 0) for edge_s in edges_s)
    return samples[begin:end].astype(np.float64)


def _projection(span: Floats, frequency_hz: float, sample_rate_hz: int) -> float:
    """Mean squared peak of the tone of this frequency in the stretches of 20 ms of ``span``.

    Longer stretches would miss a telephone that is 1 % off frequency.
    """
    if span.size == 0:
        return 0.0
    stretches = np.array_split(span, max(round(span.size / (_STRETCH_S * sample_rate_hz)), 1))
    angle = 2.0 * np.pi * frequency_hz / sample_rate_hz * np.arange(stretches[0].size)
    cosine, sine = np.cos(angle), np.sin(angle)
    total = 0.0
    for part in stretches:
        along, across = part @ cosine[: part.size], part @ sine[: part.size]
        total += float(along**2 + across**2) * (2.0 / part.size) ** 2
    return total / len(stretches)


def likeliest_key(span: Floats, sample_rate_hz: int = 8000) -> str:
    """The key whose two tones carry the most energy in ``span``; silence gives the first key."""
    low = [_projection(span, f, sample_rate_hz) for f in LOW_HZ]
    high = [_projection(span, f, sample_rate_hz) for f in HIGH_HZ]
    return SYMBOLS[4 * int(np.argmax(low)) + int(np.argmax(high))]


def matched_recovery(
    pcm: Pcm, moments: Sequence[Moment], symbols: Sequence[str], sample_rate_hz: int = 8000
) -> int:
    """How many keys a matched filter that knows the moments recovers.

    Parameters
    ----------
    pcm : ndarray of int16, shape ``(n,)``
        What the eavesdropper heard.
    moments : sequence of (start_s, end_s)
        Where each key lies in ``pcm`` (add the masker's delay).
    symbols : sequence of str
        The keys that were pressed. Sixteen keys guessed blindly give 6.25 %.

    Raises
    ------
    ValueError
        Bad samples, an unknown key, moments that are none, or not as many of them as symbols.
    """
    samples = check_pcm(pcm)
    rate_hz = check_rate(sample_rate_hz)
    spans = [_span(samples, (a, b), rate_hz) for a, b in _rows("moments as (start_s, end_s)", moments, 2)]
    if not isinstance(symbols, Sequence) or len(spans) != len(symbols):
        raise ValueError("give one moment for each symbol, and the symbols as a sequence")
    for symbol in symbols:
        frequencies_hz(symbol)
    return sum(likeliest_key(span, rate_hz) == symbol for span, symbol in zip(spans, symbols, strict=True))


def residual_db(
    pcm: Pcm,
    moments: Sequence[tuple[str, float, float]],
    reference_level_dbm0: float = -10.0,
    sample_rate_hz: int = 8000,
) -> Floats:
    """Tone left at each key's own two frequencies, in dB against the level it was sent at.

    Parameters
    ----------
    pcm : ndarray of int16, shape ``(n,)``
        The masked sound.
    moments : sequence of (symbol, start_s, end_s)
        The keys, where they lie in ``pcm`` (add the masker's delay).
    reference_level_dbm0 : float
        Level of one tone of the unmasked keys.

    Returns
    -------
    ndarray of float64, shape ``(len(moments),)``
        The stronger of the two tones; -120 where nothing at all is left.

    Raises
    ------
    ValueError
        Bad samples, an unknown key, or moments that are none.
    """
    samples = check_pcm(pcm)
    rate_hz = check_rate(sample_rate_hz)
    reference = dbm0_to_peak(reference_level_dbm0) ** 2
    left = []
    for symbol, start_s, end_s in _rows("moments as (symbol, start_s, end_s)", moments, 3):
        span = _span(samples, (start_s, end_s), rate_hz)
        strongest = max(_projection(span, f, rate_hz) for f in frequencies_hz(symbol))
        left.append(10.0 * np.log10(max(strongest / reference, 1e-12)))
    return np.array(left, dtype=np.float64)
