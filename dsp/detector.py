"""Recognises DTMF keys in one stream of any block size, or in a whole recording.

How it works is told in :mod:`dsp.bank` and, with pictures, in docs/dtmf.md.
"""

from __future__ import annotations

from dsp.bank import DtmfDetectorBank, DtmfEvent
from dsp.checks import Pcm, check_pcm


class DtmfDetector:
    """Streaming DTMF receiver for one channel.

    A key is known about 40 ms after its onset: ``active`` names it from then until it is over, and
    ``process`` returns it, once, when it is over.

    Parameters
    ----------
    sample_rate_hz : int
        8000, or 16000 (halved inside).
    part_s : float, optional
        For a stream: how long a block usually is, so that the detector holds no more than it needs.

    Raises
    ------
    ValueError
        Unsupported rate, or a length that is none.
    """

    def __init__(self, sample_rate_hz: int = 8000, part_s: float | None = None) -> None:
        self._bank = DtmfDetectorBank(1, sample_rate_hz, part_s, decide_every_ms=20)
        self.sample_rate_hz = self._bank.sample_rate_hz

    @property
    def active(self) -> str | None:
        """The key that is certain and not yet over, or None. Card data in paycall: never log it."""
        return self._bank.active[0]

    def process(self, pcm: Pcm) -> list[DtmfEvent]:
        """Take the next samples, int16, shape ``(n,)``, any ``n``; return the keys that ended.

        Raises
        ------
        ValueError
            Not one channel of int16; the detector is as before.
        """
        return [event for _, event in self._bank.process(check_pcm(pcm)[None])]

    def flush(self) -> list[DtmfEvent]:
        """The stream ends: return the key that was still down, and start anew."""
        return [event for _, event in self._bank.flush()]

    def reset(self) -> None:
        """Forget the stream: the next sample is its first."""
        self._bank.reset()


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
