"""One press counts once, whatever the ways it comes by; two presses count twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycall.media.keys import KeyMerger, RtpEventTracker, Way


def test_the_same_press_by_two_ways_counts_once_in_either_order() -> None:
    for first, second in ((Way.AUDIO, Way.RTP_EVENT), (Way.RTP_EVENT, Way.AUDIO)):
        merger = KeyMerger()
        assert merger.report(first, "5", 1.00, 1.05)
        assert not merger.report(second, "5", 1.08, 1.15)


def test_two_fast_presses_by_two_ways_count_twice() -> None:
    merger = KeyMerger()
    assert merger.report(Way.RTP_EVENT, "5", 1.00, 1.00)
    assert merger.report(Way.RTP_EVENT, "5", 1.12, 1.12)
    assert not merger.report(Way.AUDIO, "5", 1.05, 1.10)
    assert not merger.report(Way.AUDIO, "5", 1.17, 1.22)


def test_a_way_that_reports_only_some_presses_adds_none() -> None:
    merger = KeyMerger()
    assert merger.report(Way.RTP_EVENT, "5", 1.0, 1.0)
    assert merger.report(Way.RTP_EVENT, "5", 1.2, 1.2)
    assert not merger.report(Way.AUDIO, "5", 1.2, 1.24)


def test_other_keys_and_later_presses_are_others() -> None:
    merger = KeyMerger()
    assert merger.report(Way.AUDIO, "5", 1.0, 1.1)
    assert merger.report(Way.RTP_EVENT, "6", 1.0, 1.0)
    assert merger.report(Way.RTP_EVENT, "5", 1.8, 1.8)


@pytest.mark.parametrize("held_back_s", [0.0, 0.2, 0.45])
def test_fast_presses_count_once_each_however_long_a_jitter_buffer_holds_the_sound_back(
    held_back_s: float,
) -> None:
    merger, reports = KeyMerger(), []
    for number in range(10):
        at = 1.0 + 0.12 * number
        reports.append((at, Way.RTP_EVENT, at, at))
        reports.append((at + held_back_s + 0.1, Way.AUDIO, at + held_back_s, at + held_back_s + 0.05))
    assert sum(merger.report(way, "5", began, ended) for _, way, began, ended in sorted(reports)) == 10


def test_info_may_come_a_second_later() -> None:
    merger = KeyMerger()
    assert merger.report(Way.AUDIO, "5", 1.0, 1.1)
    assert not merger.report(Way.INFO, "5", 1.9, 1.9)


def test_a_long_press_is_one_however_late_the_other_way_reports_it() -> None:
    merger = KeyMerger()
    assert merger.report(Way.RTP_EVENT, "5", 1.0, 1.0)
    merger.still_down(Way.RTP_EVENT, "5", 4.0)
    assert not merger.report(Way.AUDIO, "5", 1.02, 4.05)


@given(
    st.lists(
        st.tuples(st.sampled_from("012#"), st.floats(0.08, 0.4), st.booleans(), st.booleans()), max_size=30
    )
)
def test_each_press_counts_once_by_any_mixture_of_ways(presses: list[tuple[str, float, bool, bool]]) -> None:
    """RTP events always, the tone in the audio (a jitter buffer later) and INFO for some presses."""
    merger, now, reports, counted = KeyMerger(), 10.0, [], 0
    for key, gap, in_audio, _ in presses:
        reports.append((now, Way.RTP_EVENT, key, now))
        if in_audio:
            reports.append((now + 0.12, Way.AUDIO, key, now + 0.05))
        now += gap
    for at, way, key, start in sorted(reports):
        counted += merger.report(way, key, start, at)
    assert counted == len(presses)


def press(tracker: RtpEventTracker, key: str, at_ms: int, durations: list[int], *, ends: int = 1) -> int:
    """The packets of a press, as PJSIP reports them; gives how many presses were counted."""
    new = tracker.report(key, at_ms, durations[0], update=False, ended=False)
    for duration in durations[1:]:
        new += tracker.report(key, at_ms, duration, update=True, ended=False)
    for _ in range(ends):
        new += tracker.report(key, at_ms, durations[-1], update=True, ended=True)
    return new


def test_updates_and_ends_are_one_press() -> None:
    tracker = RtpEventTracker()
    assert press(tracker, "5", 1000, [20, 40, 60], ends=3) == 1
    assert press(tracker, "5", 1200, [20, 40, 60]) == 1
    assert press(tracker, "6", 1400, [20]) == 1


def test_a_lost_end_does_not_swallow_the_next_press() -> None:
    tracker = RtpEventTracker()
    assert press(tracker, "5", 1000, [20, 40, 60], ends=0) == 1
    assert press(tracker, "5", 1200, [20, 40], ends=0) == 1


def test_a_press_whose_first_packets_are_lost_is_told_from_the_last_one() -> None:
    """PJSIP takes it for an update, because its duration is not shorter."""
    tracker = RtpEventTracker()
    assert press(tracker, "5", 1000, [20, 40]) == 1
    assert tracker.report("5", 1200, 60, update=True, ended=False)
    assert not tracker.report("5", 1200, 80, update=True, ended=True)


def test_the_segments_of_a_very_long_press_are_one() -> None:
    tracker = RtpEventTracker()
    assert press(tracker, "5", 1000, [20, 4000, 8191], ends=0) == 1
    assert not tracker.report("5", 1000 + 8191, 20, update=False, ended=False)
    assert not tracker.report("5", 1000 + 8191, 40, update=True, ended=True)
