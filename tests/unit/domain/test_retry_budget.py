"""The networks' retry rules, at their edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from paycall.domain.card import Brand
from paycall.domain.decline_codes import ISO8583, PAYCALL, STRIPE_DECLINE
from paycall.domain.declines import System, decline_for, decline_from_json, decline_to_json
from paycall.domain.retry_budget import PastDecline, retry_budget

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def past(code: str, *ages: timedelta, advice: str | None = None) -> list[PastDecline]:
    return [PastDecline(NOW - age, decline_for(ISO8583, code, advice)) for age in ages]


def hours(*numbers: float) -> list[timedelta]:
    return [timedelta(hours=number) for number in numbers]


@pytest.mark.parametrize("code", "04 07 12 14 15 41 43 46 57 R0 R1 R3".split())
def test_visa_category_1_is_final(code: str) -> None:
    budget = retry_budget(Brand.VISA, past(code, timedelta(days=29)), NOW)
    assert not budget.allowed
    assert budget.again_at is None
    assert budget.decline is not None
    assert budget.decline.reason == "retry_blocked"


@pytest.mark.parametrize("advice", ["03", "21"])
def test_mastercard_advice_03_and_21_are_final(advice: str) -> None:
    declines = past("51", timedelta(hours=1), advice=advice)
    assert not retry_budget(Brand.MASTERCARD, declines, NOW).allowed
    assert retry_budget(Brand.MASTERCARD, past("51", timedelta(hours=1), advice="02"), NOW).allowed


@pytest.mark.parametrize("code", "91 92 80 96 76 77 88 94 03 58 30 13".split())
@pytest.mark.parametrize("advice", ["03", "21"])
def test_the_advice_is_final_whatever_the_code_and_whoever_declined(code: str, advice: str) -> None:
    declines = past(code, timedelta(hours=1), advice=advice)
    assert not retry_budget(Brand.MASTERCARD, declines, NOW).allowed
    told_on = [PastDecline(one.at, decline_from_json(decline_to_json(one.decline))) for one in declines]
    assert not retry_budget(Brand.MASTERCARD, told_on, NOW).allowed, "it is kept with what is stored"


@pytest.mark.parametrize("code", ["41", "57"])
def test_what_is_final_is_not_forgotten(code: str) -> None:
    assert not retry_budget(Brand.VISA, past(code, timedelta(days=400)), NOW).allowed


@pytest.mark.parametrize(
    ("system", "code"),
    [(ISO8583, "1A"), (ISO8583, "55"), (STRIPE_DECLINE, "currency_not_supported"), (ISO8583, "93")],
)
def test_what_is_of_the_payment_does_not_ban_the_card(system: System, code: str) -> None:
    declines = [PastDecline(NOW - timedelta(hours=1), decline_for(system, code))]
    assert retry_budget(Brand.VISA, declines, NOW).allowed


def test_attempts_under_way_count() -> None:
    nineteen = past("51", *hours(*range(1, 20)))
    full = retry_budget(Brand.VISA, nineteen, NOW, under_way=1)
    assert (full.allowed, full.left) == (False, 0)
    assert full.again_at is not None, "as soon as it is answered"


def test_visa_twenty_in_thirty_days() -> None:
    nineteen = past("51", *hours(*range(1, 20)))
    assert retry_budget(Brand.VISA, nineteen, NOW).left == 1
    full = retry_budget(Brand.VISA, nineteen + past("51", timedelta(days=20)), NOW)
    assert (full.allowed, full.left) == (False, 0)
    assert full.again_at == NOW + timedelta(days=10), "when the oldest of the twenty leaves the window"
    assert retry_budget(Brand.VISA, nineteen + past("51", timedelta(days=30)), NOW).allowed


def test_mastercard_ten_in_a_day_and_thirty_five_in_thirty() -> None:
    nine = past("05", *hours(*range(1, 10)))
    assert retry_budget(Brand.MASTERCARD, nine, NOW).left == 1
    day_full = retry_budget(Brand.MASTERCARD, nine + past("05", timedelta(hours=23)), NOW)
    assert (day_full.allowed, day_full.again_at) == (False, NOW + timedelta(hours=1))
    assert retry_budget(Brand.MASTERCARD, nine + past("05", timedelta(hours=24)), NOW).allowed
    spread = past("05", *[timedelta(days=2 + index % 25) for index in range(35)])
    month_full = retry_budget(Brand.MASTERCARD, spread, NOW)
    assert not month_full.allowed
    assert month_full.again_at == NOW + timedelta(days=4), "26 days old is the oldest"


def test_other_brands_have_no_count_but_final_stays_final() -> None:
    many = past("51", *hours(*range(1, 60)))
    budget = retry_budget(Brand.AMEX, many, NOW)
    assert (budget.allowed, budget.left, budget.decline) == (True, None, None)
    assert not retry_budget(None, many + past("43", timedelta(days=1)), NOW).allowed


def test_what_never_left_the_house_is_not_counted() -> None:
    held_back = [PastDecline(NOW, decline_for(PAYCALL, "retry_budget")) for _ in range(50)]
    wrong_set_up = [PastDecline(NOW, decline_for(PAYCALL, "brand_not_accepted")) for _ in range(50)]
    assert retry_budget(Brand.VISA, held_back + wrong_set_up, NOW).left == 20
