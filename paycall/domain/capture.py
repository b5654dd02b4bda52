"""What the caller keys: a state machine, pure, as one table ``phase -> {event type: transition}``.

Rules:

* ``step(state, event, now)`` gives the next state and the effects; the outside carries the effects out. An event
  that the table does not have raises ``StateError`` and changes nothing.
* The mask goes on with the first effect of ``begin`` and comes off only through ``EndRequested``, two seconds
  after the last key at the earliest. No finished field, no error and no vault failure unmasks.
* The end key (``#``) ends a field, the clear key (``*``) empties it; an end key on an empty field is ignored, so
  that a caller's habitual ``#`` after a field that ended itself does no harm.
* A field ends itself when its length leaves no doubt. A pause ends it too: what is there is then checked, and the
  field's own error told; ``input-timeout`` means that no digit came at all.
* A new card number makes the security code worthless: if the code was there it is asked for again.
* Keys that come while a field is on its way to the vault are kept, and count for the next fields, until one of them
  turns out wrong: what was keyed behind a mistake was meant for another field.
* Whether the vault has a card number from an earlier capture only the vault knows: a code may be asked for alone, and
  if the vault then misses the number, the number is asked for first.

Events and effects are in ``capture_events.py``. States hold secrets (``DigitBuffer``); when a state is replaced,
``wipe_replaced`` overwrites what the new one does not share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

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
from paycall.domain.card import Brand, brand_of
from paycall.domain.errors import CaptureSequenceError, InputError, StateError
from paycall.domain.field_rules import check_field, is_final
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ports import CaptureRules
from paycall.domain.secret import DIAL_KEYS, DIGITS, DigitBuffer, KeyBuffer

UNMASK_AFTER_KEY_S = 2.0


class Phase(StrEnum):
    """Where a capture is."""

    COLLECTING = "collecting"
    STORING = "storing"
    COMPLETE = "complete"
    STUCK = "stuck"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True)
class CaptureState:
    """A capture as it stands. ``queue[0]`` is the field being taken; ``deadline`` is when to send ``TimePassed``.

    ``today`` is year and month at the start, for expiry dates. Times are seconds of one monotonic clock. ``masked``
    is whether the agent leg is, and must be, masked: it stays so when the caller hangs up, until the call is gone.
    """

    rules: CaptureRules
    today: tuple[int, int]
    phase: Phase
    queue: tuple[Field, ...]
    attempts_left: int
    digits: DigitBuffer
    ahead: KeyBuffer
    stored: tuple[Field, ...] = ()
    brand: Brand | None = None
    token: str | None = None
    deadline: float | None = None
    last_key_at: float | None = None
    masked: bool = True

    @property
    def current(self) -> Field | None:
        """The field that is being taken or stored."""
        return self.queue[0] if self.phase in (Phase.COLLECTING, Phase.STORING) else None


Result = tuple[CaptureState, tuple[Effect, ...]]


def begin(fields: Sequence[Field], rules: CaptureRules, today: tuple[int, int], now: float) -> Result:
    """Start a capture of these fields, in this order.

    Raises
    ------
    InputError
        If a field is named twice, none is named, or the security code comes before the card number.
    """
    _check_order(fields, waiting=())
    state = CaptureState(
        rules=rules,
        today=today,
        phase=Phase.COMPLETE,
        queue=tuple(fields),
        attempts_left=0,
        digits=DigitBuffer(),
        ahead=KeyBuffer(),
    )
    state, effects = _next_field(state, now)
    return state, (EnableMask(), ReportStarted(), *effects)


def step(state: CaptureState, event: Event, now: float) -> Result:
    """The next state and what is to be done.

    Raises
    ------
    StateError
        If the event can't happen in this phase, or a field is dropped that is on its way; nothing was changed.
    InputError
        If the requested fields make no sense; nothing was changed.
    """
    try:
        transition = TRANSITIONS[state.phase][type(event)]
    except KeyError:
        raise StateError("the capture cannot do this in its present phase") from None
    return transition(state, event, now)


def wipe_replaced(old: CaptureState, new: CaptureState) -> None:
    """Overwrite the digits of a replaced state that the new one does not hold."""
    if old.digits is not new.digits:
        old.digits.wipe()
    if old.ahead is not new.ahead:
        old.ahead.wipe()


# ---- transitions ----------------------------------------------------------------------------------------


def _check_order(fields: Sequence[Field], waiting: Sequence[Field]) -> None:
    """The number comes before the code, among these fields and those that still wait for their turn."""
    if not fields or len(set(fields)) != len(fields):
        raise InputError("name each field once, and at least one")
    turns = [*fields, *(field for field in waiting if field not in fields)]
    if Field.SECURITY_CODE in fields and Field.CARD_NUMBER in turns[turns.index(Field.SECURITY_CODE) :]:
        raise CaptureSequenceError


def _next_field(state: CaptureState, now: float, attempts_left: int | None = None) -> Result:
    """Ask for the first field of the queue, or report that all are there."""
    if not state.queue:
        done = replace(state, phase=Phase.COMPLETE, deadline=None, digits=DigitBuffer())
        # Without a token nothing was stored: the operator has done without every field that was asked for.
        return done, (ReportCompleted(done.token),) if done.token is not None else ()
    left = state.rules.attempts if attempts_left is None else attempts_left
    seconds = state.rules.first_key_s
    asking = replace(
        state, phase=Phase.COLLECTING, digits=DigitBuffer(), attempts_left=left, deadline=now + seconds
    )
    return asking, (ReportField(state.queue[0], seconds, left),)


def _key(state: CaptureState, event: Event, now: float) -> Result:
    assert isinstance(event, KeyPressed)  # noqa: S101
    state = replace(state, last_key_at=now)
    what = state.queue[0]
    if event.key == state.rules.end_key:
        return _end_field(state, now) if len(state.digits) else (state, ())
    if event.key == state.rules.clear_key:
        cleared = replace(state, digits=DigitBuffer(), deadline=now + state.rules.first_key_s)
        return cleared, (ReportProgress(what, 0, state.rules.first_key_s),)
    if event.key not in DIGITS:
        return state, ()
    grown = replace(state, digits=state.digits.plus(event.key), deadline=now + state.rules.between_keys_s)
    brand = brand_of(grown.digits.expose()) if what is Field.CARD_NUMBER else None
    progress = ReportProgress(what, len(grown.digits), state.rules.between_keys_s, brand)
    if not is_final(what, grown.digits.expose(), state.brand):
        return grown, (progress,)
    ended, effects = _end_field(grown, now)
    return ended, (progress, *effects)


def _end_field(state: CaptureState, now: float) -> Result:
    what = state.queue[0]
    error = check_field(what, state.digits.expose(), state.rules, state.brand, state.today)
    if error is not None:
        return _fail(state, error, now)
    storing = replace(state, phase=Phase.STORING, deadline=None)
    return storing, (StoreField(what, DigitBuffer(state.digits.expose())),)


def _fail(state: CaptureState, error: CaptureError, now: float) -> Result:
    """One attempt at the current field is over; ask again, or wait for the operator."""
    what, count, left = state.queue[0], len(state.digits), state.attempts_left - 1
    once = (what, *(field for field in state.queue[1:] if field is not what))
    empty = replace(state, queue=once, digits=DigitBuffer(), ahead=KeyBuffer())
    if left > 0:
        asking, effects = _next_field(empty, now, attempts_left=left)
        return asking, (ReportFailed(what, error, count, left), *effects)
    stuck = replace(empty, phase=Phase.STUCK, attempts_left=0, deadline=None)
    return stuck, (
        ReportFailed(what, error, count, 0),
        ReportFailed(what, CaptureError.TOO_MANY_ATTEMPTS, 0, 0),
    )


def _time(state: CaptureState, event: Event, now: float) -> Result:
    if state.deadline is None or now < state.deadline:
        return state, ()
    if state.phase is Phase.ENDING:
        return _open(state)
    if not len(state.digits):
        return _fail(state, CaptureError.INPUT_TIMEOUT, now)
    return _end_field(state, now)


def _key_ahead(state: CaptureState, event: Event, now: float) -> Result:
    assert isinstance(event, KeyPressed)  # noqa: S101
    ahead = state.ahead.plus(event.key) if event.key in DIAL_KEYS else state.ahead
    return replace(state, last_key_at=now, ahead=ahead), ()


def _key_unused(state: CaptureState, event: Event, now: float) -> Result:
    """A key after the last field: masked, remembered as a moment, not as a key."""
    deadline = now + UNMASK_AFTER_KEY_S if state.phase is Phase.ENDING else state.deadline
    return replace(state, last_key_at=now, deadline=deadline), ()


def _accepted(state: CaptureState, event: Event, now: float) -> Result:
    assert isinstance(event, FieldAccepted)  # noqa: S101
    if event.field is not state.queue[0]:
        return state, ()
    queue, stored = state.queue[1:], tuple(f for f in state.stored if f is not event.field)
    brand = state.brand
    if event.field is Field.CARD_NUMBER:
        brand = brand_of(state.digits.expose())
        if Field.SECURITY_CODE in stored:
            stored = tuple(f for f in stored if f is not Field.SECURITY_CODE)
            queue = queue if Field.SECURITY_CODE in queue else (*queue, Field.SECURITY_CODE)
    taken = replace(
        state, queue=queue, stored=(*stored, event.field), brand=brand, token=event.token, ahead=KeyBuffer()
    )
    following, effects = _next_field(taken, now)
    following, more = _replay(following, state.ahead, now)
    return following, (ReportStored(event.field, event.token), *effects, *more)


def _replay(state: CaptureState, keys: KeyBuffer, now: float) -> Result:
    """Take the keys that came early, up to the first mistake."""
    effects: list[Effect] = []
    for key in keys.expose():
        state, more = step(state, KeyPressed(key), now)
        effects += more
        if any(isinstance(effect, ReportFailed) for effect in more):
            break
    return state, tuple(effects)


def _refused(state: CaptureState, event: Event, now: float) -> Result:
    assert isinstance(event, FieldRefused)  # noqa: S101
    if event.field is not state.queue[0]:
        return state, ()
    if event.error is CaptureError.CODE_BEFORE_NUMBER and event.field is Field.SECURITY_CODE:
        return _number_first(state, now)
    return _fail(state, event.error, now)


def _number_first(state: CaptureState, now: float) -> Result:
    """The vault has no card number for this code: ask for the number, then for the code again."""
    others = tuple(f for f in state.queue if f is not Field.CARD_NUMBER)
    stored = tuple(f for f in state.stored if f is not Field.CARD_NUMBER)
    missing = replace(state, queue=(Field.CARD_NUMBER, *others), stored=stored, brand=None, ahead=KeyBuffer())
    asking, effects = _next_field(missing, now)
    failed = ReportFailed(
        Field.SECURITY_CODE, CaptureError.CODE_BEFORE_NUMBER, len(state.digits), asking.attempts_left
    )
    return asking, (failed, *effects)


def _unreachable(state: CaptureState, event: Event, now: float) -> Result:
    """The caller did nothing wrong: ask again without counting it as an attempt."""
    assert isinstance(event, VaultUnreachable)  # noqa: S101
    if event.field is not state.queue[0]:
        return state, ()
    return _fail(replace(state, attempts_left=state.attempts_left + 1), CaptureError.INTERNAL_ERROR, now)


def _request(state: CaptureState, event: Event, now: float) -> Result:
    """Requested fields come first, then those of the queue that were not reached."""
    assert isinstance(event, FieldsRequested)  # noqa: S101
    _check_order(event.fields, waiting=_not_stored(state, state.queue))
    rest = tuple(f for f in state.queue if f not in event.fields)
    emptied = replace(state, queue=(*event.fields, *rest), digits=DigitBuffer(), ahead=KeyBuffer())
    return _next_field(emptied, now)


def _request_while_storing(state: CaptureState, event: Event, now: float) -> Result:
    """The field on its way is finished first. Keys that came early were meant for the field that was to follow."""
    assert isinstance(event, FieldsRequested)  # noqa: S101
    _check_order(event.fields, waiting=_not_stored(state, state.queue[1:]))
    rest = tuple(f for f in state.queue[1:] if f not in event.fields)
    queue = (state.queue[0], *event.fields, *rest)
    ahead = state.ahead if queue[1:2] == state.queue[1:2] else KeyBuffer()
    return replace(state, queue=queue, ahead=ahead), ()


def _drop(state: CaptureState, event: Event, now: float) -> Result:
    """Nobody asks for the field any more; what was keyed of it, and behind it, is forgotten."""
    assert isinstance(event, FieldDropped)  # noqa: S101
    without = replace(state, queue=tuple(f for f in state.queue if f is not event.field))
    if state.queue[0] is not event.field:
        return without, ()
    return _next_field(replace(without, ahead=KeyBuffer()), now)


def _drop_while_storing(state: CaptureState, event: Event, now: float) -> Result:
    assert isinstance(event, FieldDropped)  # noqa: S101
    if event.field is state.queue[0]:
        raise StateError("the field is on its way to the vault")
    queue = tuple(f for f in state.queue if f is not event.field)
    ahead = state.ahead if queue[1:2] == state.queue[1:2] else KeyBuffer()
    return replace(state, queue=queue, ahead=ahead), ()


def _not_stored(state: CaptureState, fields: Sequence[Field]) -> tuple[Field, ...]:
    return tuple(field for field in fields if field not in state.stored)


def _end(state: CaptureState, event: Event, now: float) -> Result:
    emptied = replace(state, queue=(), digits=DigitBuffer(), ahead=KeyBuffer())
    if state.last_key_at is not None and now < state.last_key_at + UNMASK_AFTER_KEY_S:
        waiting = state.last_key_at + UNMASK_AFTER_KEY_S
        return replace(emptied, phase=Phase.ENDING, deadline=waiting), ()
    return _open(emptied)


def _open(state: CaptureState) -> Result:
    return replace(state, phase=Phase.ENDED, deadline=None, masked=False), (DisableMask(), ReportEnded())


def _hung_up(state: CaptureState, event: Event, now: float) -> Result:
    gone = replace(state, phase=Phase.ENDED, queue=(), deadline=None, digits=DigitBuffer(), ahead=KeyBuffer())
    return gone, (ReportEnded(CaptureError.CALLER_HUNG_UP),)


def _ignore(state: CaptureState, event: Event, now: float) -> Result:
    return state, ()


_Transition = Callable[[CaptureState, Event, float], Result]
# What a store that was overtaken by an end or a request still reports.
_LATE_ANSWERS: dict[type, _Transition] = {
    FieldAccepted: _ignore,
    FieldRefused: _ignore,
    VaultUnreachable: _ignore,
}

TRANSITIONS: dict[Phase, dict[type, _Transition]] = {
    Phase.COLLECTING: {
        KeyPressed: _key,
        TimePassed: _time,
        FieldsRequested: _request,
        FieldDropped: _drop,
        EndRequested: _end,
        CallerHungUp: _hung_up,
        **_LATE_ANSWERS,
    },
    Phase.STORING: {
        KeyPressed: _key_ahead,
        TimePassed: _ignore,
        FieldsRequested: _request_while_storing,
        FieldAccepted: _accepted,
        FieldRefused: _refused,
        VaultUnreachable: _unreachable,
        FieldDropped: _drop_while_storing,
        EndRequested: _end,
        CallerHungUp: _hung_up,
    },
    Phase.COMPLETE: {
        KeyPressed: _key_unused,
        TimePassed: _ignore,
        FieldsRequested: _request,
        FieldDropped: _ignore,
        EndRequested: _end,
        CallerHungUp: _hung_up,
        **_LATE_ANSWERS,
    },
    Phase.STUCK: {
        KeyPressed: _key_unused,
        TimePassed: _ignore,
        FieldsRequested: _request,
        FieldDropped: _drop,
        EndRequested: _end,
        CallerHungUp: _hung_up,
        **_LATE_ANSWERS,
    },
    Phase.ENDING: {
        KeyPressed: _key_unused,
        TimePassed: _time,
        EndRequested: _ignore,
        CallerHungUp: _hung_up,
        **_LATE_ANSWERS,
    },
    Phase.ENDED: {
        KeyPressed: _ignore,
        TimePassed: _ignore,
        EndRequested: _ignore,
        CallerHungUp: _ignore,
        **_LATE_ANSWERS,
    },
}
