"""What the caller keys: a state machine, pure, as one table ``phase -> {event type: transition}``.

Rules:

* ``step(state, event, now)`` gives the next state and the effects; the outside carries the effects out. An event
  that the table does not have raises ``StateError`` and changes nothing.
* The mask goes on with the first effect of ``begin`` and comes off only through ``EndRequested``, two seconds
  after the last key at the earliest. No finished field, no error and no vault failure unmasks.
* The end key (``#``) ends a field, the clear key (``*``) empties it; an end key on an empty field is ignored, so
  that a caller's habitual ``#`` after a field that ended itself does no harm.
* A field ends itself when its length leaves no doubt. A pause ends it too: what is there is then checked.
* A new card number makes the security code worthless: if the code was there it is asked for again.
* Keys that come while a field is on its way to the vault are kept, and count for the next field.

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
from paycall.domain.card import Brand, Expiry, brand_of, check_number, code_length, number_is_final
from paycall.domain.errors import CardDataError, InputError, StateError
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ports import CaptureRules
from paycall.domain.secret import DigitBuffer, KeyBuffer

UNMASK_AFTER_KEY_S = 2.0
MAX_POSTAL_CODE_LENGTH = 10


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

    ``today`` is year and month at the start, for expiry dates. Times are seconds of one monotonic clock.
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

    @property
    def masked(self) -> bool:
        """Whether the agent leg is, and must be, masked."""
        return self.phase is not Phase.ENDED

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
    _check_order(fields, stored=())
    state = CaptureState(
        rules=rules,
        today=today,
        phase=Phase.COMPLETE,
        queue=tuple(fields),
        attempts_left=0,
        digits=DigitBuffer(),
        ahead=KeyBuffer(""),
    )
    state, effects = _next_field(state, now)
    return state, (EnableMask(), ReportStarted(), *effects)


def step(state: CaptureState, event: Event, now: float) -> Result:
    """The next state and what is to be done.

    Raises
    ------
    StateError
        If the event can't happen in this phase; nothing was changed.
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


def _check_order(fields: Sequence[Field], stored: Sequence[Field]) -> None:
    if not fields or len(set(fields)) != len(fields):
        raise InputError("name each field once, and at least one")
    if Field.SECURITY_CODE in fields and Field.CARD_NUMBER not in (
        *stored,
        *fields[: fields.index(Field.SECURITY_CODE)],
    ):
        raise InputError("the card number has to be taken before the security code")


def _next_field(state: CaptureState, now: float, attempts_left: int | None = None) -> Result:
    """Ask for the first field of the queue, or report that all are there."""
    if not state.queue:
        done = replace(state, phase=Phase.COMPLETE, deadline=None, digits=DigitBuffer())
        assert done.token is not None  # noqa: S101 - a field was stored, so there is a token
        return done, (ReportCompleted(done.token),)
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
    if not event.key.isdigit():
        return state, ()
    grown = replace(state, digits=state.digits.plus(event.key), deadline=now + state.rules.between_keys_s)
    brand = brand_of(grown.digits.expose()) if what is Field.CARD_NUMBER else None
    progress = ReportProgress(what, len(grown.digits), state.rules.between_keys_s, brand)
    if not _is_final(grown):
        return grown, (progress,)
    ended, effects = _end_field(grown, now)
    return ended, (progress, *effects)


def _is_final(state: CaptureState) -> bool:
    """Whether the field's length leaves no doubt that it is over."""
    length = len(state.digits)
    match state.queue[0]:
        case Field.CARD_NUMBER:
            return number_is_final(state.digits.expose())
        case Field.EXPIRY:
            return length == 4
        case Field.SECURITY_CODE:
            return length == (code_length(state.brand) or 4)
        case Field.POSTAL_CODE:
            return length == MAX_POSTAL_CODE_LENGTH


def _check(state: CaptureState) -> CaptureError | None:
    """What is wrong with the field that just ended. The digits are read to be checked, and not kept."""
    digits = state.digits.expose()
    match state.queue[0]:
        case Field.CARD_NUMBER:
            accepted = frozenset(Brand(name) for name in state.rules.brands) or None
            return check_number(digits, accepted)
        case Field.EXPIRY:
            try:
                good = Expiry.parse(digits).good_in(*state.today)
            except CardDataError:
                good = False
            return None if good else CaptureError.INVALID_DATE
        case Field.SECURITY_CODE:
            wanted = code_length(state.brand)
            fits = len(digits) == wanted if wanted else len(digits) in (3, 4)
            return None if fits else CaptureError.INVALID_SECURITY_CODE
        case Field.POSTAL_CODE:
            fits = state.rules.min_postal_code_length <= len(digits) <= MAX_POSTAL_CODE_LENGTH
            return None if fits else CaptureError.INVALID_POSTAL_CODE


def _end_field(state: CaptureState, now: float) -> Result:
    error = _check(state)
    if error is not None:
        return _fail(state, error, now)
    what = state.queue[0]
    storing = replace(state, phase=Phase.STORING, deadline=None)
    if what is Field.CARD_NUMBER:
        storing = replace(storing, brand=brand_of(state.digits.expose()))
    return storing, (StoreField(what, DigitBuffer(state.digits.expose())),)


def _fail(state: CaptureState, error: CaptureError, now: float) -> Result:
    """One attempt at the current field is over; ask again, or wait for the operator."""
    what, count, left = state.queue[0], len(state.digits), state.attempts_left - 1
    empty = replace(state, digits=DigitBuffer(), ahead=KeyBuffer(""))
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
    return replace(state, last_key_at=now, ahead=state.ahead.plus(event.key)), ()


def _key_unused(state: CaptureState, event: Event, now: float) -> Result:
    """A key after the last field: masked, remembered as a moment, not as a key."""
    deadline = now + UNMASK_AFTER_KEY_S if state.phase is Phase.ENDING else state.deadline
    return replace(state, last_key_at=now, deadline=deadline), ()


def _accepted(state: CaptureState, event: Event, now: float) -> Result:
    assert isinstance(event, FieldAccepted)  # noqa: S101
    if event.field is not state.queue[0]:
        return state, ()
    queue, stored = state.queue[1:], tuple(f for f in state.stored if f is not event.field)
    if event.field is Field.CARD_NUMBER and Field.SECURITY_CODE in stored:
        stored = tuple(f for f in stored if f is not Field.SECURITY_CODE)
        if Field.SECURITY_CODE not in queue:
            queue = (*queue, Field.SECURITY_CODE)
    taken = replace(state, queue=queue, stored=(*stored, event.field), token=event.token, ahead=KeyBuffer(""))
    following, effects = _next_field(taken, now)
    all_effects: list[Effect] = [ReportStored(event.field, event.token), *effects]
    for key in state.ahead.expose():
        following, more = step(following, KeyPressed(key), now)
        all_effects += more
    return following, tuple(all_effects)


def _refused(state: CaptureState, event: Event, now: float) -> Result:
    assert isinstance(event, FieldRefused)  # noqa: S101
    return _fail(state, event.error, now) if event.field is state.queue[0] else (state, ())


def _unreachable(state: CaptureState, event: Event, now: float) -> Result:
    """The caller did nothing wrong: ask again without counting it as an attempt."""
    assert isinstance(event, VaultUnreachable)  # noqa: S101
    if event.field is not state.queue[0]:
        return state, ()
    return _fail(replace(state, attempts_left=state.attempts_left + 1), CaptureError.INTERNAL_ERROR, now)


def _request(state: CaptureState, event: Event, now: float) -> Result:
    """Requested fields come first, then those of the queue that were not reached."""
    assert isinstance(event, FieldsRequested)  # noqa: S101
    _check_order(event.fields, stored=state.stored)
    rest = tuple(f for f in state.queue if f not in event.fields)
    emptied = replace(state, queue=(*event.fields, *rest), digits=DigitBuffer(), ahead=KeyBuffer(""))
    return _next_field(emptied, now)


def _request_while_storing(state: CaptureState, event: Event, now: float) -> Result:
    """The field on its way is finished first."""
    assert isinstance(event, FieldsRequested)  # noqa: S101
    _check_order(event.fields, stored=(*state.stored, state.queue[0]))
    rest = tuple(f for f in state.queue[1:] if f not in event.fields)
    return replace(state, queue=(state.queue[0], *event.fields, *rest)), ()


def _end(state: CaptureState, event: Event, now: float) -> Result:
    emptied = replace(state, queue=(), digits=DigitBuffer(), ahead=KeyBuffer(""))
    if state.last_key_at is not None and now < state.last_key_at + UNMASK_AFTER_KEY_S:
        waiting = state.last_key_at + UNMASK_AFTER_KEY_S
        return replace(emptied, phase=Phase.ENDING, deadline=waiting), ()
    return _open(emptied)


def _open(state: CaptureState) -> Result:
    return replace(state, phase=Phase.ENDED, deadline=None), (DisableMask(), ReportEnded())


def _hung_up(state: CaptureState, event: Event, now: float) -> Result:
    gone = replace(
        state, phase=Phase.ENDED, queue=(), deadline=None, digits=DigitBuffer(), ahead=KeyBuffer("")
    )
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
        EndRequested: _end,
        CallerHungUp: _hung_up,
    },
    Phase.COMPLETE: {
        KeyPressed: _key_unused,
        TimePassed: _ignore,
        FieldsRequested: _request,
        EndRequested: _end,
        CallerHungUp: _hung_up,
        **_LATE_ANSWERS,
    },
    Phase.STUCK: {
        KeyPressed: _key_unused,
        TimePassed: _ignore,
        FieldsRequested: _request,
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
