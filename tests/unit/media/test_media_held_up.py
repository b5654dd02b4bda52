"""A thread that was held up takes what it reads for old, whatever it was doing; one that only waits does not."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from paycall.media.held_up import BACKLOG_S, LONGEST_WAIT_S, OVERSLEPT_S, HeldUp

SILENCE_S = 2.0  # fr_timer of config/kamailio/common.cfg
START_S = 1000.0


@given(
    asleep_s=st.floats(0, LONGEST_WAIT_S),
    wait_s=st.floats(0, LONGEST_WAIT_S),
    asked_after_s=st.floats(0, 10),
    since_s=st.floats(0, 10),
)
@example(asleep_s=0.0, wait_s=LONGEST_WAIT_S, asked_after_s=0.0, since_s=0.0)
def test_whoever_was_not_answered_for_two_seconds_is_found_old(
    asleep_s: float, wait_s: float, asked_after_s: float, since_s: float
) -> None:
    """Stopped while it waited, or while it worked (no wait); asked then; awake when the asker has given up."""
    held_up = HeldUp()
    held_up.seen(START_S, wait_s)
    stopped_at = START_S + min(asleep_s, wait_s)
    awake_at = stopped_at + asked_after_s + SILENCE_S + since_s
    assert held_up.may_be_old(awake_at)
    held_up.seen(awake_at + 0.01)
    assert held_up.may_be_old(awake_at + BACKLOG_S / 2), "it lay behind what was read first"
    assert not held_up.may_be_old(awake_at + BACKLOG_S + 0.01)


@given(st.lists(st.tuples(st.floats(0, LONGEST_WAIT_S), st.floats(-LONGEST_WAIT_S, OVERSLEPT_S - 0.01))))
def test_whoever_comes_to_a_thread_that_is_only_late_is_served(turns: list[tuple[float, float]]) -> None:
    held_up, now = HeldUp(), START_S
    assert not held_up.may_be_old(now), "just started"
    for wait_s, late_s in turns:
        held_up.seen(now, wait_s)
        now += max(wait_s + late_s, 0.0)
        assert not held_up.may_be_old(now)


def test_what_lies_behind_something_else_is_old_too() -> None:
    """The first thing that is read after the stop need not be a call."""
    held_up = HeldUp()
    held_up.seen(START_S, LONGEST_WAIT_S)
    held_up.seen(START_S + 3.0)  # a keep-alive was read
    held_up.seen(START_S + 3.001, LONGEST_WAIT_S)
    assert held_up.may_be_old(START_S + 3.002)
