"""Typed amounts: whatever is read is what was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paycall.domain.errors import InputError
from paycall.domain.money import CURRENCIES, MAX_AMOUNT_MINOR, Money, exponent

MONEY = st.builds(Money, st.integers(1, MAX_AMOUNT_MINOR), st.sampled_from(sorted(CURRENCIES)))
# The sign for thousands and the sign for decimals, as our languages and their neighbours pair them.
HABITS = st.sampled_from(
    [("", "."), ("", ","), (" ", ","), ("\u00a0", ","), ("\u202f", "."), (",", "."), (".", ",")]
)


@given(MONEY, HABITS)
def test_an_amount_written_with_its_decimals_is_read_back_or_refused_never_another(
    money: Money, habit: tuple[str, str]
) -> None:
    thousands, decimals = habit
    typed = f"{money.decimal:,.{exponent(money.currency)}f}".translate({44: thousands, 46: decimals})
    try:
        assert Money.parse(typed, money.currency) == money
    except InputError as refused:
        assert "two ways" in str(refused)
        assert thousands in (",", ".") or decimals == ","


@given(
    st.one_of(st.text(max_size=50), st.from_regex(r"[0-9 .,'eE+-]{0,45}", fullmatch=True)),
    st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_any_text_is_an_amount_or_an_input_error(text: str, currency: str) -> None:
    try:
        money = Money.parse(text, currency)
    except InputError as refused:
        assert refused.code == "invalid-input"
    else:
        assert [char for char in text if char.isdigit()]
        whole = "".join(char for char in text if char in "0123456789").lstrip("0")
        assert str(money.amount_minor).rstrip("0") == whole.rstrip("0")
