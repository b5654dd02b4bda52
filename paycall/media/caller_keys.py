"""What a caller keys, joined from the three ways, and how long ago a key last sounded."""

from __future__ import annotations

import math

from paycall.media.keys import KeyMerger, RtpEventTracker, Way
from paycall.media.legs import KeyReport


class CallerKeys:
    """One caller's keys. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._merger = KeyMerger()
        self._events = RtpEventTracker()
        self.last_sound_s = -math.inf

    def beside(self, report: KeyReport) -> bool:
        """A report from beside the audio; True if it is a press that was not counted before."""
        self.last_sound_s = max(self.last_sound_s, report.at_s)
        if not is_new(self._events, report):
            self._merger.still_down(report.way, report.key, report.at_s)
            return False
        return self._merger.report(report.way, report.key, report.at_s, report.at_s)

    def in_audio(self, key: str, began_s: float, ended_s: float) -> bool:
        """A key in the audio; True if it is a press that was not counted before."""
        self.last_sound_s = max(self.last_sound_s, ended_s)
        return self._merger.report(Way.AUDIO, key, began_s, ended_s)


def is_new(tracker: RtpEventTracker, report: KeyReport) -> bool:
    """Whether the report is the first of its press."""
    if report.way is Way.INFO:
        return True
    return tracker.report(
        report.key, report.timestamp_ms, report.duration_ms, update=report.update, ended=report.ended
    )
