"""A capture with a clock of its own, as the tests of the domain drive it."""

from __future__ import annotations

from paycall.domain.capture import Phase, begin, step
from paycall.domain.capture_events import (
    Effect,
    Event,
    FieldAccepted,
    KeyPressed,
    ReportFailed,
    StoreField,
    TimePassed,
)
from paycall.domain.fields import DEFAULT_FIELDS, CaptureError, Field
from paycall.domain.ports import CaptureRules

NUMBER, EXPIRY, CODE, POSTAL = Field.CARD_NUMBER, Field.EXPIRY, Field.SECURITY_CODE, Field.POSTAL_CODE
VISA, MASTERCARD, AMEX = "4242424242424242", "5555555555554444", "378282246310005"
TODAY = (2026, 11)
TOKEN, NEW_TOKEN = "tok_" + "a" * 22, "tok_" + "b" * 22


class Capture:
    """A capture with a clock of its own; it keeps every effect."""

    def __init__(self, *fields: Field, **rules: object) -> None:
        self.now = 1000.0
        self.state, effects = begin(fields or DEFAULT_FIELDS, CaptureRules(**rules), TODAY, self.now)  # type: ignore[arg-type]
        self.effects: list[Effect] = list(effects)

    def feed(self, event: Event) -> tuple[Effect, ...]:
        state, effects = step(self.state, event, self.now)
        self.state = state
        self.effects += effects
        return effects

    def key(self, keys: str, every_s: float = 0.2) -> tuple[Effect, ...]:
        """Press these keys; gives the effects of the last."""
        effects: tuple[Effect, ...] = ()
        for key in keys:
            self.now += every_s
            effects = self.feed(KeyPressed(key))
        return effects

    def wait(self, seconds: float) -> tuple[Effect, ...]:
        self.now += seconds
        return self.feed(TimePassed())

    def accept(self, token: str = TOKEN) -> tuple[Effect, ...]:
        """The vault takes the field that is on its way."""
        assert self.state.current is not None
        return self.feed(FieldAccepted(self.state.current, token))

    def store(self, keys: str, token: str = TOKEN) -> tuple[Effect, ...]:
        self.key(keys)
        assert self.state.phase is Phase.STORING
        return self.accept(token)

    def stored_values(self) -> list[tuple[Field, str]]:
        return [(e.field, e.value.expose()) for e in self.effects if isinstance(e, StoreField)]

    def errors(self) -> list[CaptureError]:
        return [e.error for e in self.effects if isinstance(e, ReportFailed)]
