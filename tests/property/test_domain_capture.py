"""Capture under any order of events: what must hold whatever the caller, the operator and the vault do."""

from __future__ import annotations

import re

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paycall.control import messages
from paycall.domain.capture import TRANSITIONS, UNMASK_AFTER_KEY_S, Phase, begin, step, wipe_replaced
from paycall.domain.capture_events import (
    CallerHungUp,
    DisableMask,
    Effect,
    EnableMask,
    EndRequested,
    Event,
    FieldAccepted,
    FieldDropped,
    FieldRefused,
    FieldsRequested,
    KeyPressed,
    ReportCompleted,
    ReportEnded,
    ReportFailed,
    ReportField,
    ReportProgress,
    ReportStarted,
    ReportStored,
    StoreField,
    TimePassed,
    VaultUnreachable,
)
from paycall.domain.errors import InputError, StateError
from paycall.domain.field_rules import check_field
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ports import CaptureRules

TODAY = (2026, 11)
CALL, PAYMENT = "call_" + "c" * 22, "pay_" + "p" * 22
FIELDS = st.lists(st.sampled_from(Field), min_size=1, max_size=4, unique=True).map(tuple)
ERRORS = st.sampled_from(CaptureError)
TOKENS = st.sampled_from(["tok_" + letter * 22 for letter in "abc"])
KEYED = st.sampled_from(
    """4242424242424242# 5555555555554444 378282246310005 5555555555554445 4242# 1230 1330 0131#
    737 7373 737# 1051# 10# 1* # * A""".split()
)
RULES = st.builds(
    CaptureRules,
    attempts=st.integers(1, 3),
    brands=st.sampled_from([(), ("visa", "mastercard")]),
    first_key_s=st.sampled_from([1.0, 20.0]),
)


def on_the_wire(effect: Effect) -> messages.Event | None:
    """The message that a cell makes of an effect; it raises if the effect does not fit."""
    ids = {"call_id": CALL, "payment_id": PAYMENT}
    match effect:
        case ReportStarted():
            return messages.CaptureStarted(**ids)
        case ReportField(field, seconds, left):
            return messages.FieldStarted(**ids, field=field, seconds=seconds, attempts_left=left)
        case ReportProgress(field, digits, seconds, brand):
            name = brand.value if brand else None
            return messages.FieldProgress(**ids, field=field, digits=digits, seconds=seconds, brand=name)
        case ReportStored(field, token):
            return messages.FieldStored(**ids, field=field, token=token)
        case ReportFailed(field, error, digits, left):
            return messages.FieldFailed(**ids, field=field, error=error, digits=digits, attempts_left=left)
        case ReportCompleted(token):
            return messages.CaptureCompleted(**ids, token=token)
        case ReportEnded(error):
            return messages.CaptureEnded(**ids, error=error)
        case _:
            return None


class AnyCapture(RuleBasedStateMachine):
    """Events in any order."""

    @initialize(fields=FIELDS, rules=RULES)
    def start(self, fields: tuple[Field, ...], rules: CaptureRules) -> None:
        self.now = 0.0
        self.keyed = ""
        self.last_key_at = -100.0
        self.end_requested = self.unmasked = False
        self.failures = 0
        try:
            self.state, effects = begin(fields, rules, TODAY, self.now)
        except InputError:
            order = [field for field in fields if field in (Field.CARD_NUMBER, Field.SECURITY_CODE)]
            assert order == [Field.SECURITY_CODE, Field.CARD_NUMBER]
            self.state, effects = begin(fields[::-1], rules, TODAY, self.now)
        assert isinstance(effects[0], EnableMask)
        for effect in effects:
            on_the_wire(effect)

    def feed(self, event: Event) -> None:
        before, shown = self.state, repr(self.state)
        try:
            state, effects = step(before, event, self.now)
        except StateError:
            on_its_way = isinstance(event, FieldDropped) and before.current is event.field
            assert on_its_way or type(event) not in TRANSITIONS[before.phase]
            assert repr(self.state) == shown
            return
        except InputError:
            assert isinstance(event, FieldsRequested)
            assert repr(self.state) == shown
            return
        self.state = state
        for effect in effects:
            self.check(effect)
        self.secrets_stay_inside(event, effects)
        if state is not before:
            wipe_replaced(before, state)

    def check(self, effect: Effect) -> None:
        on_the_wire(effect)
        match effect:
            case EnableMask():
                raise AssertionError("the mask goes on once")
            case DisableMask():
                assert self.end_requested
                assert not self.unmasked
                assert self.now >= self.last_key_at + UNMASK_AFTER_KEY_S
                self.unmasked = True
            case StoreField(field, value):
                digits = value.expose()
                assert digits in self.keyed  # in one piece, as it was keyed
                assert check_field(field, digits, self.state.rules, self.state.brand, TODAY) is None
                assert not self.unmasked
            case ReportFailed(_, error, _, left):
                counted = error not in (CaptureError.TOO_MANY_ATTEMPTS, CaptureError.INTERNAL_ERROR)
                assert left >= 0
                assert (
                    not counted
                    or left < self.state.rules.attempts
                    or error is CaptureError.CODE_BEFORE_NUMBER
                )
            case ReportCompleted(token):
                assert token == self.state.token
                assert self.state.phase is Phase.COMPLETE

    def secrets_stay_inside(self, event: Event, effects: tuple[Effect, ...]) -> None:
        shown = repr((self.state, event, effects))
        times = r"today=\(\d+, \d+\)|(deadline|last_key_at)=[\d.]+"
        for run in re.findall(r"\d{4,}", re.sub(times, "", shown)):
            assert run not in self.keyed

    @rule(keys=KEYED, every_s=st.sampled_from([0.25, 0.5]))
    def caller_keys(self, keys: str, every_s: float) -> None:
        for key in keys:
            self.now += every_s
            self.last_key_at = self.now
            if key in "0123456789*#":
                self.keyed += key
            self.feed(KeyPressed(key))

    @rule(digits=st.text("0123456789*#", min_size=1, max_size=6))
    def caller_keys_anything(self, digits: str) -> None:
        self.caller_keys(digits, 0.25)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.5, 2.0, 5.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.feed(TimePassed())

    @precondition(lambda self: self.state.deadline is not None)
    @rule()
    def the_timer_fires(self) -> None:
        assert self.state.deadline is not None
        self.now = max(self.now, self.state.deadline)
        before = self.state
        self.feed(TimePassed())
        assert self.state is not before

    @rule(fields=FIELDS)
    def operator_asks(self, fields: tuple[Field, ...]) -> None:
        self.feed(FieldsRequested(fields))

    @rule(field=st.sampled_from(Field))
    def operator_does_without(self, field: Field) -> None:
        self.feed(FieldDropped(field))
        if self.state.phase is Phase.COLLECTING:
            assert self.state.current is not field

    @precondition(lambda self: self.state.phase is Phase.STORING)
    @rule(token=TOKENS)
    def vault_takes_it(self, token: str) -> None:
        assert self.state.current is not None
        self.feed(FieldAccepted(self.state.current, token))
        assert self.state.token == token

    @rule(field=st.sampled_from(Field), token=TOKENS, error=ERRORS, which=st.integers(0, 2))
    def vault_answers_anything(self, field: Field, token: str, error: CaptureError, which: int) -> None:
        before = self.state
        answer: Event = (FieldAccepted(field, token), FieldRefused(field, error), VaultUnreachable(field))[
            which
        ]
        self.feed(answer)
        if before.phase is not Phase.STORING or before.current is not field:
            assert self.state is before

    @rule(really=st.integers(0, 7))
    def operator_ends(self, really: int) -> None:
        if really == 0:
            self.end_requested = True
            self.feed(EndRequested())
            assert self.state.phase in (Phase.ENDING, Phase.ENDED)

    @rule(really=st.integers(0, 15))
    def caller_hangs_up(self, really: int) -> None:
        if really == 0:
            self.feed(CallerHungUp())
            assert self.state.phase is Phase.ENDED

    @invariant()
    def masked_until_it_was_ended(self) -> None:
        assert self.state.masked is not self.unmasked

    @invariant()
    def a_timer_runs_exactly_while_something_is_waited_for(self) -> None:
        assert (self.state.deadline is not None) is (self.state.phase in (Phase.COLLECTING, Phase.ENDING))

    @invariant()
    def digits_are_held_only_while_they_are_needed(self) -> None:
        if self.state.phase not in (Phase.COLLECTING, Phase.STORING):
            assert self.state.digits.wiped
            assert self.state.current is None
        if self.state.phase is not Phase.STORING:
            assert self.state.ahead.wiped

    @invariant()
    def attempts_are_left_while_a_field_is_asked_for(self) -> None:
        left = self.state.attempts_left
        assert 0 <= left <= self.state.rules.attempts
        assert left or self.state.phase not in (Phase.COLLECTING, Phase.STORING)

    def teardown(self) -> None:
        """Whatever happened: the operator's word opens the leg two seconds later, unless nobody is there."""
        if self.state.phase is Phase.ENDED:
            return
        self.end_requested = True
        self.feed(EndRequested())
        self.now += UNMASK_AFTER_KEY_S
        self.feed(TimePassed())
        assert self.unmasked
        assert self.state.phase is Phase.ENDED


TestAnyCapture = AnyCapture.TestCase
TestAnyCapture.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
