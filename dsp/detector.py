"""Recognises DTMF keys in a stream of any block size.

The stream is cut into windows of 20 ms every 10 ms, counted from its first sample, so that how the
caller splits it into blocks cannot change an event.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dsp.checks import Floats, Pcm, check_pcm, check_rate
from dsp.goertzel import DTMF_HZ, powers, quadrature_table, sine_window
from dsp.levels import dbm0_to_peak, power_to_dbm0
from dsp.resample import Halver
from dsp.tones import SYMBOLS

WINDOW = 160
HOP = 80
_TABLE = quadrature_table(DTMF_HZ, sine_window(WINDOW))
_WINDOW_ENERGY = sine_window(WINDOW) ** 2 / float(np.sum(sine_window(WINDOW) ** 2))

MIN_PEAK_SQUARED = dbm0_to_peak(-36.0) ** 2
MAX_HIGH_OVER_LOW = 10 ** (9.0 / 10)
MAX_LOW_OVER_HIGH = 10 ** (12.0 / 10)
GROUP_DOMINANCE = 10 ** (6.0 / 10)
MIN_TONE_SHARE = 0.62


@dataclass(frozen=True, slots=True)
class DtmfEvent:
    """One key press, reported when it is over.

    Attributes
    ----------
    symbol : str
        The key. In paycall it is card data, so it is kept out of ``repr``; never log it.
    onset_sample, end_sample : int
        First sample of the tone and the one after its last, counted from the stream's first sample
        at the stream's own rate.
    level_dbm0 : float
        Mean level of the two tones.
    twist_db : float
        High minus low tone.
    """

    symbol: str = field(repr=False)
    onset_sample: int
    end_sample: int
    level_dbm0: float
    twist_db: float


class DtmfDetector:
    """Streaming DTMF receiver for one channel.

    ``process`` returns the keys that ended; ``active`` names the key that is certain and still down
    (about 40 ms after its onset).
    """

    def __init__(self, sample_rate_hz: int = 8000) -> None:
        self.sample_rate_hz = check_rate(sample_rate_hz)
        self._factor = self.sample_rate_hz // 8000
        self._halver = Halver() if self._factor == 2 else None
        self._buffer = np.zeros(WINDOW - HOP, dtype=np.int16)
        self._start = -(WINDOW - HOP)  # stream position of the buffer's first sample
        self._hits: list[tuple[str, float, float]] = []
        self._onset = 0
        self._misses = 0

    @property
    def active(self) -> str | None:
        """The key that is certain and not yet over, or None. Card data: never log it."""
        return self._hits[0][0] if len(self._hits) >= 2 else None

    def process(self, pcm: Pcm) -> list[DtmfEvent]:
        """Take the next samples, int16, shape ``(n,)``, any ``n``; return the keys that ended.

        Raises
        ------
        ValueError
            Not one channel of int16; the detector is as before.
        """
        samples = check_pcm(pcm)
        if self._halver is not None:
            samples = self._halver.process(samples)
        self._buffer = np.concatenate([self._buffer, samples])
        count = (self._buffer.size - WINDOW) // HOP + 1
        if count <= 0:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(self._buffer, WINDOW)[::HOP][:count].astype(
            np.float64
        )
        tone_powers = powers(windows, _TABLE)
        energy = windows**2 @ _WINDOW_ENERGY
        events = []
        for index in range(count):
            events += self._step(self._start + index * HOP, tone_powers[index], float(energy[index]))
        self._buffer = self._buffer[count * HOP :]
        self._start += count * HOP
        return events

    def flush(self) -> list[DtmfEvent]:
        """End of the stream: return the key that was still down, and start anew."""
        tail = self.process(np.zeros(8 * HOP * self._factor, dtype=np.int16))
        self.__init__(self.sample_rate_hz)  # type: ignore[misc]
        return tail

    def _step(self, position: int, tone_powers: Floats, energy: float) -> list[DtmfEvent]:
        hit = _classify(tone_powers, energy)
        if hit is not None and (not self._hits or self._hits[0][0] == hit[0]):
            if not self._hits:
                self._onset = position + WINDOW // 4
            self._hits.append(hit)
            self._misses = 0
            return []
        if not self._hits:
            return []
        self._misses += 1
        if self._misses < 3 and hit is None and len(self._hits) >= 2:
            return []
        return self._finish(position - (self._misses - 1) * HOP, position, hit)

    def _finish(self, end: int, position: int, hit: tuple[str, float, float] | None) -> list[DtmfEvent]:
        hits, self._hits, self._misses = self._hits, [], 0
        onset = self._onset
        if hit is not None:
            self._hits, self._onset = [hit], position + WINDOW // 4
        if len(hits) < 2:
            return []
        low, high = (float(np.median([entry[i] for entry in hits])) for i in (1, 2))
        low_dbm0, high_dbm0 = (float(power_to_dbm0(power / 2.0)) for power in (low, high))
        event = DtmfEvent(
            symbol=hits[0][0],
            onset_sample=max(onset, 0) * self._factor,
            end_sample=(end + WINDOW // 2) * self._factor,
            level_dbm0=round((low_dbm0 + high_dbm0) / 2.0, 2),
            twist_db=round(high_dbm0 - low_dbm0, 2),
        )
        return [event]


def _classify(tone_powers: Floats, energy: float) -> tuple[str, float, float] | None:
    row, column = int(np.argmax(tone_powers[:4])), int(np.argmax(tone_powers[4:]))
    low, high = float(tone_powers[row]), float(tone_powers[4 + column])
    rest = np.delete(tone_powers, [row, 4 + column])
    if (
        min(low, high) < MIN_PEAK_SQUARED
        or high > low * MAX_HIGH_OVER_LOW
        or low > high * MAX_LOW_OVER_HIGH
        or max(rest[:3]) * GROUP_DOMINANCE > low
        or max(rest[3:]) * GROUP_DOMINANCE > high
        or (low + high) / 2.0 < MIN_TONE_SHARE * energy
    ):
        return None
    return SYMBOLS[4 * row + column], low, high


def detect(pcm: Pcm, sample_rate_hz: int = 8000) -> list[tuple[str, float, float]]:
    """Keys in a whole recording, as ``(symbol, start_s, end_s)``.

    Raises
    ------
    ValueError
        Not one channel of int16, or an unsupported rate.
    """
    detector = DtmfDetector(sample_rate_hz)
    events = detector.process(pcm) + detector.flush()
    return [(e.symbol, e.onset_sample / sample_rate_hz, e.end_sample / sample_rate_hz) for e in events]
