"""Link codes in what an operator keys: found, held back, given back, once and in time."""

from __future__ import annotations

import pytest

from paycall.media.link_codes import KEY_PAUSE_S, LATE_S, LinkCodeKeys, LinkCodes


def keyed(keys: str, *, heard: bool = False, step_s: float = 0.2) -> tuple[str, list[str]]:
    """What is passed on, and the codes that were found."""
    machine, now, passed, codes = LinkCodeKeys(), 0.0, "", []
    for key in keys:
        taken = machine.key(key, now, heard=heard)
        passed += taken.pass_on
        codes += [taken.code] if taken.code else []
        now += step_s
    return passed + machine.late(now + KEY_PAUSE_S + 1), codes


@pytest.mark.parametrize(
    ("keys", "passed", "codes"),
    [
        ("*94071", "", ["4071"]),
        ("12*94071#", "12#", ["4071"]),
        ("**94071", "*", ["4071"]),
        ("*9*94071", "*9", ["4071"]),
        ("*9407*94071", "*9407", ["4071"]),
        ("*94071*92580", "", ["4071", "2580"]),
        ("*8*", "*8*", []),
        ("*94#5", "*94#5", []),
        ("*940", "*940", []),
        ("*9A071", "*9A071", []),
    ],
)
def test_what_is_a_code_and_what_the_caller_gets(keys: str, passed: str, codes: list[str]) -> None:
    assert keyed(keys) == (passed, codes)


def test_a_pause_ends_a_code_that_was_begun() -> None:
    assert keyed("*94071", step_s=KEY_PAUSE_S + 0.1) == ("*94071", [])


def test_keys_that_the_caller_has_heard_are_not_sent_again() -> None:
    assert keyed("*9407#1", heard=True) == ("", [])


def test_a_code_is_good_once_in_its_time_and_only_until_forgotten() -> None:
    codes = LinkCodes()
    codes.expect("link_a", "4071", until_s=60.0)
    codes.expect("link_b", "2580", until_s=60.0)
    codes.forget("link_b")
    assert codes.match("2580", 1.0) is None
    assert codes.match("4071", 59.0) == "link_a"
    assert codes.match("4071", 59.0) is None
    codes.expect("link_c", "1111", until_s=60.0)
    assert codes.match("1111", 60.0) is None


def test_keys_are_held_back_a_little_longer_than_codes_are_good() -> None:
    codes = LinkCodes()
    assert not codes.any(0.0)
    codes.expect("link_a", "4071", until_s=60.0)
    assert codes.any(60.0 + LATE_S - 1)
    assert not codes.any(60.0 + LATE_S + 1)


def test_nothing_prints_a_code() -> None:
    codes = LinkCodes()
    codes.expect("link_a", "4071", until_s=60.0)
    machine = LinkCodeKeys()
    assert "4071" not in repr(vars(codes))
    assert "4071" not in repr([machine.key(key, 0.0, heard=False) for key in "*94071"])
