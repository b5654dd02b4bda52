"""The pure mappings: only what is said in words we know approves or declines; everything else is unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_adapters.adyen import wire as adyen
from gateway_adapters.amounts import from_wire, to_wire
from gateway_adapters.checkout_com import wire as checkout_com
from gateway_adapters.generic import wire as generic
from gateway_adapters.http import int_of, text_of
from gateway_adapters.iso8583 import wire as iso8583
from gateway_adapters.iso8583.codec import Codec, MalformedError
from gateway_adapters.iso8583.currencies import NUMERIC
from gateway_adapters.sandbox import wire as sandbox
from gateway_adapters.stripe import wire as stripe
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OnFile,
    OperationOutcome,
    Outcome,
)
from paycall.domain.card import Expiry
from paycall.domain.card_ports import Card
from paycall.domain.declines import NextStep, Retry
from paycall.domain.errors import RefusedRequestError
from paycall.domain.money import CURRENCIES, Money
from paycall.domain.secret import Pan, SecurityCode

REQUEST = AuthorizationRequest("att_" + "a" * 22, "pay_" + "b" * 22, Money(4200, "EUR"))
TERMINAL = iso8583.Terminal("123456", "PAYCALL1", "PAYCALL00000001")
NOW = datetime(2026, 11, 22, 9, 7, 5, tzinfo=UTC)
Reader = Callable[[dict[str, Any]], AuthorizationResult]

READERS: dict[str, tuple[Reader, dict[str, Any]]] = {
    "sandbox": (
        sandbox.authorization_result,
        {"id": "sim_1", "response_code": "00", "status": "approved", "approved_minor": 4200},
    ),
    "stripe": (
        stripe.intent_result,
        {
            "id": "pi_1",
            "status": "requires_capture",
            "amount": 4200,
            "amount_capturable": 4200,
            "currency": "eur",
        },
    ),
    "adyen": (
        lambda body: adyen.payment_result(body, REQUEST.money),
        {"pspReference": "P", "resultCode": "Authorised"},
    ),
    "checkout_com": (
        checkout_com.payment_result,
        {"id": "pay_1", "status": "Authorized", "approved": True, "amount": 4200, "currency": "EUR"},
    ),
    "generic": (
        lambda body: generic.charge_result(body, REQUEST, "iso8583_de39"),
        {"charge_id": "ch_1", "error_code": None},
    ),
    "iso8583": (
        lambda body: iso8583.authorization_result(body, REQUEST, TERMINAL),
        {"39": "00", "38": "123456"},
    ),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("name", READERS)
def test_a_plain_approval(name: str) -> None:
    read, body = READERS[name]
    result = read(body)
    assert (result.outcome, result.approved_minor, result.acquirer) == (Outcome.APPROVED, 4200, name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sandbox", {"status": "pending"}),
        ("sandbox", {"id": None}),
        ("sandbox", {"approved_minor": 0}),
        ("sandbox", {"approved_minor": True}),
        ("stripe", {"status": "processing"}),
        ("stripe", {"status": "requires_action"}),
        ("stripe", {"status": "requires_payment_method"}),
        ("stripe", {"currency": "xxx"}),
        ("adyen", {"resultCode": "Pending"}),
        ("adyen", {"resultCode": "Received"}),
        ("adyen", {"resultCode": "RedirectShopper"}),
        ("adyen", {"resultCode": "PartiallyAuthorised"}),
        ("checkout_com", {"status": "Pending"}),
        ("checkout_com", {"approved": "yes"}),
        ("checkout_com", {"status": "Card Verified"}),
        ("generic", {"charge_id": None}),
        ("generic", {"error_code": "05"}),
        *(("generic", {"error_code": odd}) for odd in ({}, 1.5, ["05"], True, "5" * 300)),
        ("generic", {"charge_id": None, "error_code": "68"}),
        ("iso8583", {"49": "392"}),
        ("iso8583", {"4": "000000004201"}),
        ("iso8583", {"4": "000000000000"}),
        ("stripe", {"amount_capturable": 10**30, "amount": 10**30}),
        ("iso8583", {"39": "68"}),
        ("iso8583", {"39": "ZZ"}),
        ("iso8583", {"39": ""}),
        ("iso8583", {"39": "94"}),
        ("iso8583", {"39": "10"}),
    ],
)
def test_what_is_not_a_clear_answer_is_unknown(name: str, change: dict[str, Any]) -> None:
    read, body = READERS[name]
    assert read(body | change).outcome is Outcome.UNKNOWN


def test_a_part_of_the_amount_is_told_whatever_the_code() -> None:
    read, body = READERS["iso8583"]
    assert [read(body | {"39": code, "4": "000000001000"}).approved_minor for code in ("00", "10")] == [
        1000
    ] * 2


@pytest.mark.parametrize("name", ["stripe", "checkout_com"])
def test_the_currency_of_an_approval_is_told(name: str) -> None:
    read, body = READERS[name]
    assert read(body | {"currency": "jpy" if name == "stripe" else "JPY"}).approved_currency == "JPY"


def test_an_answer_gives_no_text_that_a_database_would_refuse() -> None:
    assert [text_of({"id": odd}, "id") for odd in ("\ud800", "a\x00b", "x" * 256, 1.5)] == [None] * 4
    assert text_of({"id": 17}, "id") == "17"
    assert int_of({"amount": 10**19}, "amount") is None


@given(name=st.sampled_from(sorted(READERS)), data=st.data())
def test_no_damage_to_an_answer_raises_or_turns_a_yes_into_a_no(name: str, data: st.DataObject) -> None:
    read, body = READERS[name]
    field = data.draw(st.sampled_from(sorted(body)))
    value = data.draw(JSON if name != "iso8583" else st.text(max_size=6))
    result = read(body | {field: value})
    if result.outcome is Outcome.DECLINED:
        assert name in ("generic", "iso8583"), "one field alone says no on these two wires only"


class TestDeclines:
    """Where a vendor's answer holds more than one code."""

    def test_stripe_says_more_than_the_network_unless_it_says_nothing(self) -> None:
        funds = {"decline_code": "insufficient_funds", "network_decline_code": "05"}
        assert stripe.decline_of(funds).reason == "insufficient_funds"
        generic_with_network = {"decline_code": "generic_decline", "network_decline_code": "51"}
        assert stripe.decline_of(generic_with_network).reason == "insufficient_funds"
        assert stripe.decline_of({"code": "brand_new_code"}).reason == "unrecognised"

    def test_stripes_advice_counts(self) -> None:
        decline = stripe.decline_of({"decline_code": "insufficient_funds", "advice_code": "do_not_try_again"})
        assert (decline.reason, decline.retry) == ("insufficient_funds", Retry.NEVER)

    def test_adyens_raw_code_is_used_where_adyens_own_says_nothing(self) -> None:
        assert adyen.decline_of("2", "51 : Insufficient funds", None).reason == "insufficient_funds"
        assert adyen.decline_of("24", "05 : Do not honor", None).reason == "wrong_cvc"
        assert adyen.decline_of("12", None, "24").next_steps[0] is NextStep.OTHER_CARD
        assert adyen.decline_of("999", None, None).reason == "unrecognised"

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("20051", "insufficient_funds"),
            ("200N7", "wrong_cvc"),
            ("30041", "card_blocked"),
            ("20154", "sca_required"),
            ("40101", "risk_block"),
            ("20179", "update_details"),
            ("99999", "unrecognised"),
        ],
    )
    def test_checkout_coms_prefixes(self, code: str, reason: str) -> None:
        decline = checkout_com.decline_of(code)
        assert (decline.reason, decline.raw_code) == (reason, code)

    def test_what_the_caller_keyed_wrong_is_a_decline_other_refusals_are_not(self) -> None:
        wrong = checkout_com.error_result({"error_codes": ["card_number_invalid"]})
        assert wrong is not None
        assert wrong.decline is not None
        assert wrong.decline.reason == "wrong_number"
        assert checkout_com.error_result({"error_codes": ["currency_invalid"]}) is None
        assert checkout_com.error_result({"error_codes": [{"card_number_invalid": 1}]}) is None
        keyed = adyen.error_result({"errorCode": "103"})
        assert keyed is not None
        assert keyed.decline is not None
        assert keyed.decline.reason == "wrong_cvc"
        assert adyen.error_result({"errorCode": "905"}) is None
        assert stripe.error_result({"error": {"type": "invalid_request_error"}}) is None

    def test_mastercards_advice_in_data_element_48(self) -> None:
        answer = {"39": "51", "48": "9203123840203"}
        result = iso8583.authorization_result(answer, REQUEST, TERMINAL)
        assert result.decline is not None
        assert result.decline.retry is Retry.NEVER


class TestAmounts:
    """Minor units are not the same everywhere."""

    @pytest.mark.parametrize(
        ("money", "exceptions", "expected"),
        [
            (Money(1999, "EUR"), stripe.EXPONENTS, 1999),
            (Money(500, "JPY"), stripe.EXPONENTS, 500),
            (Money(1234, "KWD"), adyen.EXPONENTS, 1234),
            (Money(5, "ISK"), stripe.EXPONENTS, 500),
            (Money(5000, "UGX"), stripe.EXPONENTS, 500_000),
            (Money(1000, "IDR"), adyen.EXPONENTS, 10),
            (Money(7, "CLP"), adyen.EXPONENTS, 700),
        ],
    )
    def test_there_and_back(self, money: Money, exceptions: dict[str, int], expected: int) -> None:
        assert to_wire(money, exceptions) == expected
        assert from_wire(expected, money.currency, exceptions) == money.amount_minor

    def test_an_amount_that_cannot_be_written_is_not_sent(self) -> None:
        with pytest.raises(RefusedRequestError):
            to_wire(Money(1050, "IDR"), adyen.EXPONENTS)


class TestIso8583:
    """Messages of a host."""

    CARD = Card(Pan("4111111111111111"), Expiry(2031, 4), SecurityCode("737"))

    def test_every_currency_has_one_number(self) -> None:
        assert len(set(NUMERIC.values())) == len(NUMERIC)
        assert set(NUMERIC) == CURRENCIES
        assert (NUMERIC["EUR"], NUMERIC["HUF"], NUMERIC["UAH"]) == ("978", "348", "980")

    def test_the_authorization(self) -> None:
        message = iso8583.authorization_message(REQUEST, self.CARD, TERMINAL, NOW)
        assert message["t"] == "0100"
        assert (message["2"], message["4"], message["14"]) == ("4111111111111111", "000000004200", "3104")
        assert (message["25"], message["49"], message["48"]) == ("08", "978", "9203737")
        assert (message["7"], message["63"]) == ("1122090705", REQUEST.attempt_id)

    def test_a_kept_card_is_said_to_be_one(self) -> None:
        kept = replace(REQUEST, on_file=OnFile.LATER)
        assert iso8583.authorization_message(kept, self.CARD, TERMINAL, NOW)["22"] == "102"
        assert iso8583.authorization_message(REQUEST, self.CARD, TERMINAL, NOW)["22"] == "012"

    def test_the_same_attempt_is_the_same_trace_for_ever(self) -> None:
        trace = iso8583.Trace.of(REQUEST.attempt_id)
        assert trace == iso8583.Trace.of(REQUEST.attempt_id)
        assert trace != iso8583.Trace.of("att_" + "c" * 22)
        assert len(trace.rrn) == 12
        assert trace.stan.isdigit()
        assert trace.stan != "000000"

    def test_the_reversal_names_the_original(self) -> None:
        original = iso8583.Trace.of(REQUEST.attempt_id)
        message = iso8583.reversal_message("rev_1", original, REQUEST.money, TERMINAL, NOW)
        assert (message["t"], message["37"]) == ("0400", original.rrn)
        assert message["90"] == f"0100{original.stan}0000000000{'00000123456'}{'0' * 11}"
        assert "2" not in message, "a reversal needs no card"

    @pytest.mark.parametrize(
        ("code", "reversal", "outcome"),
        [
            ("00", False, OperationOutcome.DONE),
            ("25", True, OperationOutcome.DONE),
            ("21", True, OperationOutcome.DONE),
            ("25", False, OperationOutcome.FAILED),
            ("51", False, OperationOutcome.FAILED),
            ("94", True, OperationOutcome.UNKNOWN),
            ("", True, OperationOutcome.UNKNOWN),
        ],
    )
    def test_what_an_operations_answer_means(
        self, code: str, reversal: bool, outcome: OperationOutcome
    ) -> None:
        assert iso8583.operation_result({"39": code}, "ref", reversal=reversal).outcome is outcome

    def test_a_foreign_reference_is_not_sent(self) -> None:
        for reference in ("pi_1", "", "A.B.C", "A" * 12 + ".12345x.1"):
            with pytest.raises(RefusedRequestError):
                iso8583.split_reference(reference)

    @pytest.mark.parametrize("encoding", ["ascii", "binary"])
    def test_bytes_there_and_back(self, encoding: Any) -> None:
        codec = Codec(encoding)
        message = iso8583.authorization_message(REQUEST, self.CARD, TERMINAL, NOW)
        frame = codec.pack(message)
        assert int.from_bytes(frame[:2]) == len(frame) - 2
        back = codec.unpack(frame[2:])
        assert {name: back[name] for name in message} == message

    def test_what_does_not_fit_says_nothing_of_its_content(self) -> None:
        codec = Codec("ascii")
        for broken in ({"t": "0100", "2": "4111111111111111" * 3}, {"t": "01"}):
            with pytest.raises(MalformedError) as caught:
                codec.pack(broken)
            assert caught.value.__context__ is None
            assert str(caught.value) == ""
        with pytest.raises(MalformedError):
            codec.unpack(b"0100garbage")


@pytest.mark.parametrize(
    "build",
    [
        lambda card: sandbox.authorization_body(REQUEST, card),
        lambda card: adyen.payment_body(REQUEST, card, "M", "https://localhost/"),
        stripe.payment_method_form,
        lambda card: checkout_com.payment_body(REQUEST, card, None),
        lambda card: generic.charge_body(REQUEST, card, {}),
        lambda card: iso8583.authorization_message(REQUEST, card, TERMINAL, NOW),
    ],
)
def test_every_request_carries_card_and_code_and_works_without_code(build: Any) -> None:
    with_code = str(build(TestIso8583.CARD))
    assert "4111111111111111" in with_code
    assert "737" in with_code
    without = str(build(Card(Pan("4111111111111111"), Expiry(2031, 4))))
    assert "737" not in without
