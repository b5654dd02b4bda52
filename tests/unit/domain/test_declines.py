"""Declines: every code maps, the caller is never told what must stay secret, advice can only forbid more."""

from __future__ import annotations

import json
import re

import pytest

from paycall.domain.decline_codes import CHECKOUT, CODES, ISO8583, PAYCALL, STRIPE_DECLINE, STRIPE_ERROR
from paycall.domain.decline_rules import REASONS, UNRECOGNISED
from paycall.domain.decline_texts import TEXTS
from paycall.domain.declines import (
    CodeKind,
    DeclinedBy,
    NextStep,
    Retry,
    decline_for,
    decline_from_json,
    decline_to_json,
    is_known,
    kind_of,
)
from paycall.domain.errors import InputError
from paycall.domain.fields import Field

ALL_CODES = [(system, code) for system, codes in CODES.items() for code in codes]
CORRECTION = Retry.AFTER_CORRECTION
STEP_OF_FIELD = {
    Field.CARD_NUMBER: NextStep.KEY_NUMBER_AGAIN,
    Field.EXPIRY: NextStep.KEY_EXPIRY_AGAIN,
    Field.SECURITY_CODE: NextStep.KEY_CODE_AGAIN,
    Field.POSTAL_CODE: NextStep.KEY_POSTAL_CODE_AGAIN,
}


def test_all_215_codes_are_in_the_table_and_every_reason_is_used() -> None:
    assert len([code for system, code in ALL_CODES if system != CHECKOUT]) == 215
    used = {decline_for(system, code).reason for system, code in ALL_CODES}
    assert used == set(REASONS)


@pytest.mark.parametrize(
    ("system", "code", "reason", "by", "retry", "correct"),
    [
        (ISO8583, "05", "generic_decline", DeclinedBy.ISSUER, Retry.LATER, ()),
        (ISO8583, "51", "insufficient_funds", DeclinedBy.ISSUER, Retry.LATER, ()),
        (ISO8583, "54", "expired_or_wrong_expiry", DeclinedBy.CALLER_INPUT, CORRECTION, (Field.EXPIRY,)),
        (ISO8583, "N7", "wrong_cvc", DeclinedBy.CALLER_INPUT, CORRECTION, (Field.SECURITY_CODE,)),
        (ISO8583, "14", "wrong_number", DeclinedBy.CALLER_INPUT, CORRECTION, (Field.CARD_NUMBER,)),
        (ISO8583, "19", "processing_error", DeclinedBy.ISSUER, Retry.NOW, ()),
        (ISO8583, "43", "card_blocked", DeclinedBy.ISSUER, Retry.NEVER, ()),
        (ISO8583, "03", "merchant_config", DeclinedBy.ACQUIRER, Retry.NEVER, ()),
        (STRIPE_DECLINE, "incorrect_zip", "avs_mismatch", DeclinedBy.CALLER_INPUT, CORRECTION, (Field.POSTAL_CODE,)),
        (STRIPE_DECLINE, "fraudulent", "risk_block", DeclinedBy.GATEWAY, Retry.NEVER, ()),
    ],
)  # fmt: skip
def test_what_a_code_means(
    system: str, code: str, reason: str, by: DeclinedBy, retry: Retry, correct: tuple[Field, ...]
) -> None:
    decline = decline_for(system, code)
    assert (decline.reason, decline.declined_by, decline.retry, decline.correct) == (
        reason,
        by,
        retry,
        correct,
    )
    assert decline.raw_code == code


@pytest.mark.parametrize(("system", "code"), ALL_CODES)
def test_the_steps_agree_with_what_may_be_tried(system: str, code: str) -> None:
    decline = decline_for(system, code)
    assert decline.next_steps[-1] is NextStep.STOP
    assert len(set(decline.next_steps)) == len(decline.next_steps)
    if decline.retry is Retry.NEVER:
        assert NextStep.RETRY not in decline.next_steps
        assert not decline.correct
    if decline.retry is Retry.NOW:
        assert NextStep.RETRY in decline.next_steps
    keyed = {step for step in decline.next_steps if step in STEP_OF_FIELD.values()}
    assert keyed <= {STEP_OF_FIELD[field] for field in decline.correct}
    assert bool(keyed) == bool(decline.correct)


@pytest.mark.parametrize("language", ["en", "ru", "uk", "hu"])
def test_every_reason_has_its_sentences_in_every_language(language: str) -> None:
    assert set(TEXTS[language]) == set(REASONS)
    for happened, say in TEXTS[language].values():
        for sentence in (happened, say):
            assert sentence == sentence.strip()
            assert sentence[-1] in ".?"
            assert len(sentence) <= 180
            assert bool(re.search("[а-яіїєґ]", sentence)) == (language in ("ru", "uk"))


FORBIDDEN = re.compile(
    r"\b(lost|stolen|fraud|suspicio|suspect|block|black ?list|sanction|"
    r"потер|утер|украд|краден|мошен|подозр|блокир|санкц|"
    r"втрач|загуб|вкрад|шахра|підозр|блоков|"
    r"elvesz|lopott|ellop|csal|gyan|letilt|tiltó|szankci)",
    re.IGNORECASE,
)


@pytest.mark.parametrize("language", ["en", "ru", "uk", "hu"])
def test_the_caller_is_never_told_lost_stolen_or_fraud(language: str) -> None:
    neutral = TEXTS[language]["generic_decline"][1]
    for reason, (_, say) in TEXTS[language].items():
        assert not FORBIDDEN.search(say), reason
        if REASONS[reason].confidential:
            assert say == neutral, "another wording would tell the caller that there is something to tell"


@pytest.mark.parametrize(
    "code", "lost_card stolen_card pickup_card fraudulent security_violation merchant_blacklist".split()
)
def test_what_must_stay_secret_is_marked(code: str) -> None:
    assert decline_for(STRIPE_DECLINE, code).confidential
    assert not decline_for(STRIPE_DECLINE, "insufficient_funds").confidential


def test_another_language_reads_english() -> None:
    decline = decline_for(ISO8583, "51")
    assert decline.text("pl") == decline.text("en")
    assert decline.text("hu") != decline.text("en")


def test_an_unknown_code_gets_a_safe_default() -> None:
    for system, code in ((ISO8583, "ZZ"), ("no-such-system", "05"), (ISO8583, "")):
        decline = decline_for(system, code)
        assert not is_known(system, code)
        assert kind_of(system, code) is CodeKind.UNKNOWN
        assert decline.reason == UNRECOGNISED
        assert decline.retry is Retry.NEVER
        assert decline.next_steps[0] is NextStep.OTHER_CARD


@pytest.mark.parametrize(
    "code", ["4111111111111111", "x411111111111", "4111-1111-1111-1111-x" * 9, "a\nb", "<b>"]
)
def test_a_code_that_could_carry_a_card_number_is_dropped(code: str) -> None:
    assert decline_for(STRIPE_DECLINE, code).raw_code is None


def test_what_follows_the_code_is_ignored() -> None:
    assert decline_for(ISO8583, "05 : Do not honor") == decline_for(ISO8583, "05")


@pytest.mark.parametrize(
    ("system", "code", "kind"),
    [
        (ISO8583, "00", CodeKind.APPROVED),
        (ISO8583, "10", CodeKind.PARTLY_APPROVED),
        (ISO8583, "25", CodeKind.NOTHING_TO_UNDO),
        (ISO8583, "68", CodeKind.UNKNOWN),
        (STRIPE_ERROR, "idempotency_key_in_use", CodeKind.UNKNOWN),
        (STRIPE_ERROR, "rate_limit", CodeKind.NOT_EXECUTED),
        (PAYCALL, "connect_refused", CodeKind.NOT_EXECUTED),
        (ISO8583, "51", CodeKind.DECLINED),
    ],
)
def test_codes_that_are_no_declines_say_so(system: str, code: str, kind: CodeKind) -> None:
    assert kind_of(system, code) is kind


class TestAdvice:
    """Mastercard's merchant advice."""

    def test_do_not_try_again_ends_it(self) -> None:
        decline = decline_for(ISO8583, "51", advice="03")
        assert decline.reason == "insufficient_funds"
        assert decline.retry is Retry.NEVER
        assert NextStep.RETRY not in decline.next_steps

    def test_do_not_try_again_beats_a_correction(self) -> None:
        decline = decline_for(ISO8583, "54", advice="03")
        assert (decline.reason, decline.retry, decline.correct) == ("do_not_retry", Retry.NEVER, ())

    def test_a_number_keyed_anew_is_another_card(self) -> None:
        assert decline_for(ISO8583, "14", advice="03") == decline_for(ISO8583, "14")

    def test_wait_takes_the_retry_away(self) -> None:
        assert NextStep.RETRY in decline_for(ISO8583, "51").next_steps
        decline = decline_for(ISO8583, "51", advice="24")
        assert decline.retry is Retry.LATER
        assert decline.next_steps == (NextStep.OTHER_CARD, NextStep.STOP)

    @pytest.mark.parametrize("code", ["79", "82", "83", "05"])
    def test_the_code_that_says_nothing_leaves_it_to_the_advice(self, code: str) -> None:
        decline = decline_for(ISO8583, code, advice="01")
        assert decline.reason == "update_details"
        assert decline.correct[0] is Field.CARD_NUMBER
        assert decline.raw_code == code

    def test_unknown_advice_changes_nothing(self) -> None:
        assert decline_for(ISO8583, "51", advice="99") == decline_for(ISO8583, "51")


@pytest.mark.parametrize(("system", "code"), ALL_CODES)
def test_a_decline_travels_as_json(system: str, code: str) -> None:
    decline = decline_for(system, code)
    assert decline_from_json(json.loads(json.dumps(decline_to_json(decline)))) == decline


def test_a_reason_of_a_newer_version_is_kept_and_still_has_words() -> None:
    data = decline_to_json(decline_for(ISO8583, "05")) | {"reason": "from_the_future"}
    decline = decline_from_json(data)
    assert decline.reason == "from_the_future"
    assert decline.text("ru").happened


@pytest.mark.parametrize(
    "change", [{"retry": "perhaps"}, {"declined_by": None}, {"correct": ["cvv"]}, {"next_steps": None}]
)
def test_malformed_json_is_refused_without_repeating_it(change: dict[str, object]) -> None:
    data = decline_to_json(decline_for(ISO8583, "05")) | change
    with pytest.raises(InputError) as caught:
        decline_from_json(data)
    assert "perhaps" not in str(caught.value)
