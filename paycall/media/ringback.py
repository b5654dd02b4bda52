"""What an operator hears while the customer's phone rings and the trunk sends no sound of its own.

Rules: it ends with the trunk's first sound. Everything runs in the SIP thread.
"""

from __future__ import annotations

import contextlib

import pjsua2 as pj

from paycall.media.endpoint import BRIDGE_RATE_HZ, SipEndpoint
from paycall.media.legs import Leg

# Europe's ringing tone (ITU-T E.180, supplement 2): 425 Hz, a second of five.
_HZ, _ON_MS, _OFF_MS = 425, 1000, 4000


class Ringback:
    """One call's ringing tone."""

    def __init__(self, endpoint: SipEndpoint) -> None:
        self._endpoint = endpoint
        self._tone: pj.ToneGenerator | None = None

    def start(self, operator: Leg) -> None:
        """Let this leg hear it."""
        audio = operator.audio()
        if self._tone is not None or audio is None:
            return
        ringing = pj.ToneDesc()
        ringing.freq1, ringing.freq2 = _HZ, 0
        ringing.on_msec, ringing.off_msec = _ON_MS, _OFF_MS
        self._tone = pj.ToneGenerator()
        self._tone.createToneGenerator(BRIDGE_RATE_HZ)
        self._tone.play(pj.ToneDescVector([ringing]), True)
        self._tone.startTransmit(audio)

    def stop(self) -> None:
        """No more of it."""
        tone, self._tone = self._tone, None
        if tone is not None:
            with contextlib.suppress(pj.Error):  # stopped by itself
                tone.stop()
            self._endpoint.keep_for_a_while(tone)
