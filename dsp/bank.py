"""DTMF receiver for many channels at once.

Feed-forward but for one piece of state a channel, the key that is down: what the last windows hold says
whether there is *evidence* for a key now, and whether the key that was down is *gone*. Windows are counted
from the stream's first sample, so neither the size of a block nor the number of channels changes an event.

The cost of numpy lies in the number of calls. So every channel gets only the cheap test of its whole
windows; the rest is done for all channels in which something is going on together, and, in a bank,
for several steps of 20 ms together.

A key goes down when its two tones have been there for about 31 ms and look like nothing else; it is
over when about 25 ms of it are missing. It is reported when it is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from dsp import rules
from dsp.checks import Pcm, check_duration, check_pcm, check_rate, check_whole
from dsp.goertzel import BLOCK
from dsp.keys import Evidence, Suspects, evidence, missing_steps
from dsp.levels import dbm0_to_peak
from dsp.resample import Halver
from dsp.tones import SYMBOLS
from dsp.windows import Indices, Windows

_MILLIWATT: Final = dbm0_to_peak(0.0) ** 2
_STEP_MS: Final = 20
_UP: Final = -1  # in place of a key: none is down
_FLUSH: Final = 10 * BLOCK  # of silence end every key
_MAX_CHANNELS: Final = 10_000  # a quarter of a gigabyte
_MAX_STEPS: Final = 8192  # of 20 ms, over all channels, judged at a time ...
_MAX_STEPS_EACH: Final = 512  # ... and of each channel: more is no quicker, and a call needs little memory


@dataclass(frozen=True, slots=True)
class DtmfEvent:
    """One key press, reported when it is over.

    Attributes
    ----------
    symbol : str
        The key. In paycall it is card data, so it is kept out of ``repr``; never log it.
    onset_sample, end_sample : int
        First sample of the tone and the one after its last, counted from the stream's first sample
        at the stream's own rate; right to about 3 ms.
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


class DtmfDetectorBank:
    """Detectors for ``channels`` streams that advance together, in one matrix product.

    Its events are bit for bit those of one :class:`dsp.DtmfDetector` a channel, which is a bank of
    one.

    Parameters
    ----------
    channels : int
        1 to 10,000.
    sample_rate_hz : int
        8000, or 16000 (halved inside).
    part_s : float, optional
        How much of a block is judged at a time; the default makes long blocks fast. It changes no
        event. The detector's memory grows with it: 26 kB a second and channel.
    decide_every_ms : int
        How much of the streams is judged together, a multiple of 20: a key is returned by up to so much
        later than with 20, which costs up to twice as much (docs/dtmf.md). Events are the same.

    Raises
    ------
    ValueError
        No channel or too many, an unsupported rate, a length that is none, or another time to decide.
    """

    def __init__(
        self,
        channels: int,
        sample_rate_hz: int = 8000,
        part_s: float | None = None,
        *,
        decide_every_ms: int = 80,
    ) -> None:
        self.channels = check_whole("channels", channels, 1, _MAX_CHANNELS)
        self.sample_rate_hz = check_rate(sample_rate_hz)
        self._steps = check_whole("decide_every_ms", decide_every_ms, _STEP_MS, 1000, _STEP_MS) // _STEP_MS
        most = max(min(_MAX_STEPS // self.channels, _MAX_STEPS_EACH), self._steps)
        wanted = most if part_s is None else math.ceil(1000.0 * check_duration("part_s", part_s) / _STEP_MS)
        self._at_once = min(max(wanted, self._steps), most)
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next sample is its first."""
        self._factor = self.sample_rate_hz // 8000
        self._halver = Halver(self.channels) if self._factor == 2 else None
        self._windows = Windows(self.channels, self._at_once)
        self._ended: list[tuple[int, DtmfEvent]] = []
        self._symbol = np.full(self.channels, _UP)
        self._onset = [0.0] * self.channels
        self._power = [(0.0, 0.0)] * self.channels

    @property
    def active(self) -> list[str | None]:
        """For each channel the key that is certain and not yet over, or None. Never log it.

        It knows all complete steps of 20 ms: what ``decide_every_ms`` holds back is judged now.
        """
        self._ended += self._judge()
        return [SYMBOLS[symbol] if symbol != _UP else None for symbol in self._symbol.tolist()]

    def process(self, pcm: Pcm) -> list[tuple[int, DtmfEvent]]:
        """Take the next samples of every channel; return the keys that ended, in order of their end.

        Parameters
        ----------
        pcm : ndarray of int16, shape ``(channels, n)``
            Any ``n``.

        Raises
        ------
        ValueError
            Another shape or dtype; the bank is as before.
        """
        samples = check_pcm(pcm, ndim=2)
        if samples.shape[0] != self.channels:
            raise ValueError("give as many rows of samples as the bank has channels")
        if self._halver is not None:
            samples = self._halver.process(samples)
        events, self._ended = self._ended, []
        at = 0
        while at < samples.shape[1]:
            at += self._windows.take(samples[:, at:])
            if self._windows.waiting >= self._steps:
                events += self._judge()
        return events

    def flush(self) -> list[tuple[int, DtmfEvent]]:
        """The streams end: return the keys that were still down, and start anew."""
        events = self.process(np.zeros((self.channels, _FLUSH * self._factor), dtype=np.int16))
        events += self._judge()
        self.reset()
        return events

    def _judge(self) -> list[tuple[int, DtmfEvent]]:
        """Judge all steps that are complete."""
        windows = self._windows
        if not windows.waiting:
            return []
        first = windows.transform()
        down = self._symbol != _UP
        if not windows.fill(first, down):
            return []
        suspects = Suspects(*windows.twice_possible(first))
        restless = np.flatnonzero(down)
        if restless.size:
            suspects, restless = self._settle(first, suspects, restless)
        found = evidence(windows, suspects)
        if found.steps.size:
            watched = np.zeros(self.channels, dtype=bool)
            watched[restless] = watched[found.proven.channel] = True
            restless = np.flatnonzero(watched)
            windows.fill_channels(first, watched)
        return self._follow(first, restless, found) if restless.size else []

    def _settle(self, first: int, suspects: Suspects, down: Indices) -> tuple[Suspects, Indices]:
        """Leave out what cannot change anything: a key that is down, is not gone, and has no rival."""
        bridged, _ = missing_steps(self._windows, first, down, self._symbol[down][None])
        restless = np.zeros(self.channels, dtype=bool)
        restless[down] = np.logical_or.reduce(bridged >= rules.MIN_PAUSE_STEPS, axis=0)
        rival = suspects.symbol != self._symbol[suspects.channel]
        restless[suspects.channel[rival]] = True
        return suspects.only(restless[suspects.channel]), down[restless[down]]

    def _follow(self, first: int, channels: Indices, found: Evidence) -> list[tuple[int, DtmfEvent]]:
        """Keep the state of the channels in which anything happens.

        What happens there is evidence, and that a key becomes gone where there is none.
        """
        numbers = channels.tolist()
        place_of = {channel: place for place, channel in enumerate(numbers)}
        now = self._symbol[channels].tolist()
        latest = now.copy()
        steps = self._windows.next - first
        symbol = np.repeat(self._symbol[channels][None], steps, axis=0)
        proven = np.zeros(symbol.shape, dtype=bool)
        happenings = []
        keys = found.proven
        for index, (number, channel, key) in enumerate(
            zip(keys.number.tolist(), keys.channel.tolist(), keys.symbol.tolist(), strict=True)
        ):
            step, place = number - first, place_of[channel]
            happenings.append((step, place, key, index))
            proven[step, place] = True
            if latest[place] != key:
                latest[place] = key
                symbol[step:, place] = key
        bridged, plain = missing_steps(self._windows, first, channels, np.maximum(symbol, 0))
        gone = (bridged >= rules.MIN_PAUSE_STEPS) > proven
        gone[1:] = gone[1:] > gone[:-1]  # where it becomes so
        happenings += [(step, place, _UP, _UP) for step, place in np.argwhere(gone).tolist()]
        events = []
        for step, place, key, index in sorted(happenings):
            was = now[place]
            if was == key:
                continue
            now[place] = key
            channel, middle = numbers[place], (first + step) * BLOCK
            here = middle - (float(plain[step, place] if key == _UP else found.steps[index]) - 0.5) * BLOCK
            if was != _UP:
                events.append((channel, self._event(channel, was, here)))
            if key != _UP:
                self._onset[channel] = here
                low, high = found.power[:, index].tolist()
                self._power[channel] = (low, high)
        self._symbol[channels] = now
        return events

    def _event(self, channel: int, symbol: int, end: float) -> DtmfEvent:
        low_dbm0, high_dbm0 = (10.0 * math.log10(power / _MILLIWATT) for power in self._power[channel])
        onset = self._place(self._onset[channel])
        return DtmfEvent(
            symbol=SYMBOLS[symbol],
            onset_sample=onset,
            end_sample=max(self._place(end), onset + 1),
            level_dbm0=round((low_dbm0 + high_dbm0) / 2.0, 2),
            twist_db=round(high_dbm0 - low_dbm0, 2),
        )

    def _place(self, sample: float) -> int:
        """A sample's number at 8 kHz, in the stream's own rate."""
        late = self._halver.delay_samples if self._halver is not None else 0
        return max(round(sample * self._factor) - late, 0)
