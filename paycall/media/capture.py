"""Runs one capture on a call: feeds the domain's state machine, carries its effects out.

Rules: the mask is on before the machine starts and comes off only by its ``DisableMask``. An error while carrying
an effect out ends nothing and unmasks nothing. Digits are in the machine's state and on their way to the vault,
nowhere else; replaced states are overwritten. Everything runs in the SIP thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import structlog

from paycall.control import messages
from paycall.control.messages import Event
from paycall.domain import capture_events as happened
from paycall.domain.capture import CaptureState, Phase, begin, step, wipe_replaced
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ports import CaptureRules
from paycall.domain.secret import DigitBuffer
from paycall.media.endpoint import SipEndpoint, Timer

log = structlog.get_logger(__name__)

# payment, field, value; then exactly one of: accepted(token), refused(error), unreachable()
StoreAnswer = Callable[[happened.Event], None]
Store = Callable[[str, Field, DigitBuffer, StoreAnswer], None]


@dataclass(frozen=True)
class CaptureView:
    """What may be told about a capture: counts and names."""

    payment_id: str
    collecting: Field | None
    digits: int
    stored: tuple[Field, ...]
    token: str | None


class CaptureRun:
    """One payment's capture on one call."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        call_id: str,
        payment_id: str,
        emit: Callable[[Event], None],
        store: Store,
        unmask: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._call_id = call_id
        self.payment_id = payment_id
        self._emit = emit
        self._store = store
        self._unmask = unmask
        self._state: CaptureState | None = None
        self._timer: Timer | None = None
        self._stores = 0

    @property
    def over(self) -> bool:
        """Whether the capture has ended."""
        return self._state is not None and self._state.phase is Phase.ENDED

    def view(self) -> CaptureView:
        """The capture as the panel may see it."""
        state = self._state
        if state is None:
            return CaptureView(self.payment_id, None, 0, (), None)
        return CaptureView(self.payment_id, state.current, len(state.digits), state.stored, state.token)

    @staticmethod
    def check(fields: Sequence[Field], rules: CaptureRules) -> None:
        """Raise ``InputError`` if the fields make no sense."""
        begin(fields, rules, _today(), 0.0)

    def start(self, fields: Sequence[Field], rules: CaptureRules) -> None:
        """Ask for the first field. The mask is on already."""
        state, effects = begin(fields, rules, _today(), time.monotonic())
        self._become(state, effects)

    def feed(self, event: happened.Event) -> None:
        """Something happened.

        Raises
        ------
        StateError, InputError
            The machine refused; nothing was changed.
        """
        if self._state is None:
            return
        state, effects = step(self._state, event, time.monotonic())
        self._become(state, effects)

    def _become(self, state: CaptureState, effects: Sequence[happened.Effect]) -> None:
        old, self._state = self._state, state
        if old is not None and old is not state:
            wipe_replaced(old, state)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if state.deadline is not None:
            delay_s = max(state.deadline - time.monotonic(), 0.0)
            self._timer = self._endpoint.call_later(delay_s, lambda: self.feed(happened.TimePassed()))
        for effect in effects:
            try:
                self._carry_out(effect)
            except Exception as error:
                log.error("effect_failed", name=type(effect).__name__, error=type(error).__name__)

    def _carry_out(self, effect: happened.Effect) -> None:
        match effect:
            case happened.EnableMask():
                pass  # the mask went on before the machine was started
            case happened.DisableMask():
                self._unmask()
            case happened.StoreField(field, value):
                self._stores += 1
                self._store(self.payment_id, field, value, partial(self._answered, self._stores))
            case happened.ReportStarted():
                self._say(messages.CaptureStarted)
            case happened.ReportField(field, seconds, left):
                self._say(messages.FieldStarted, field=field, seconds=seconds, attempts_left=left)
            case happened.ReportProgress(field, digits, seconds, brand):
                self._say(
                    messages.FieldProgress,
                    field=field,
                    digits=digits,
                    seconds=seconds,
                    brand=brand and brand.value,
                )
            case happened.ReportStored(field, token):
                self._say(messages.FieldStored, field=field, token=token)
            case happened.ReportFailed(field, error, digits, left):
                self._say(messages.FieldFailed, field=field, error=error, digits=digits, attempts_left=left)
            case happened.ReportCompleted(token):
                self._say(messages.CaptureCompleted, token=token)
            case happened.ReportEnded(error):
                self._say(messages.CaptureEnded, error=error)

    def _say(self, kind: Callable[..., Event], **what: object) -> None:
        self._emit(kind(call_id=self._call_id, payment_id=self.payment_id, **what))

    def _answered(self, store: int, answer: happened.Event) -> None:
        """The vault's word, back in the SIP thread. One on a store that was overtaken is not about this field."""
        if store == self._stores and not self.over:
            self.feed(answer)

    def caller_gone(self) -> None:
        """The call is over."""
        if not self.over:
            self.feed(happened.CallerHungUp())


def _today() -> tuple[int, int]:
    now = datetime.now(UTC)
    return now.year, now.month


def refusal(code: str) -> CaptureError:
    """The vault's code as a capture error; one that we do not know is an internal error."""
    try:
        return CaptureError(code)
    except ValueError:
        return CaptureError.INTERNAL_ERROR
