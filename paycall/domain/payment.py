"""What becomes of a payment: one table, ``state -> {event: next}``.

Rules: an event that the table does not have raises and changes nothing. No outcome is guessed: ``UNKNOWN`` is
left only by what the acquirer said, or when it is certain that nothing was sent. The diagram in
``docs/states.md`` is drawn from this table (``scripts/state_diagrams.py``). ``declined`` leads to ``authorizing``
at once, without a stay in ``ready``: the same card again, where the decline allows it and nothing has to be keyed.
"""

from __future__ import annotations

from enum import StrEnum

from paycall.domain.errors import StateError


class PaymentState(StrEnum):
    """Where a payment is."""

    CREATED = "created"
    CAPTURING = "capturing"
    READY = "ready"
    AUTHORIZING = "authorizing"
    APPROVED = "approved"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    REVERSED = "reversed"
    CANCELLED = "cancelled"
    SETTLING = "settling"
    SETTLED = "settled"
    SETTLE_FAILED = "settle_failed"
    VOIDING = "voiding"
    VOIDED = "voided"
    VOID_FAILED = "void_failed"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    PARTLY_REFUNDED = "partly_refunded"
    REFUND_FAILED = "refund_failed"


class PaymentEvent(StrEnum):
    """What can happen to a payment."""

    CAPTURE_STARTED = "capture_started"
    CAPTURE_COMPLETED = "capture_completed"
    CODE_EXPIRED = "code_expired"
    AUTHORIZE_REQUESTED = "authorize_requested"
    NOT_SENT = "not_sent"
    APPROVED = "approved"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    REVERSED = "reversed"
    CANCELLED = "cancelled"
    SETTLE_REQUESTED = "settle_requested"
    SETTLED = "settled"
    SETTLE_FAILED = "settle_failed"
    VOID_REQUESTED = "void_requested"
    VOIDED = "voided"
    VOID_FAILED = "void_failed"
    REFUND_REQUESTED = "refund_requested"
    REFUNDED = "refunded"
    PARTLY_REFUNDED = "partly_refunded"
    REFUND_FAILED = "refund_failed"


_S, _E = PaymentState, PaymentEvent
_REFUNDABLE = {_E.REFUND_REQUESTED: _S.REFUNDING}

TRANSITIONS: dict[PaymentState, dict[PaymentEvent, PaymentState]] = {
    _S.CREATED: {_E.CAPTURE_STARTED: _S.CAPTURING, _E.CANCELLED: _S.CANCELLED},
    _S.CAPTURING: {
        _E.CAPTURE_STARTED: _S.CAPTURING,
        _E.CAPTURE_COMPLETED: _S.READY,
        _E.CANCELLED: _S.CANCELLED,
    },
    _S.READY: {
        _E.CAPTURE_STARTED: _S.CAPTURING,
        _E.CODE_EXPIRED: _S.CAPTURING,
        _E.AUTHORIZE_REQUESTED: _S.AUTHORIZING,
        _E.CANCELLED: _S.CANCELLED,
    },
    _S.AUTHORIZING: {
        _E.APPROVED: _S.APPROVED,
        _E.DECLINED: _S.DECLINED,
        _E.NO_ANSWER: _S.UNKNOWN,
        _E.NOT_SENT: _S.READY,  # certainly nothing was sent: the operator may try again
    },
    _S.DECLINED: {
        _E.CAPTURE_STARTED: _S.CAPTURING,
        _E.AUTHORIZE_REQUESTED: _S.AUTHORIZING,  # the decline allows the same card, and no code is needed
        _E.CANCELLED: _S.CANCELLED,
    },
    _S.UNKNOWN: {
        _E.APPROVED: _S.APPROVED,
        _E.DECLINED: _S.DECLINED,
        _E.REVERSED: _S.REVERSED,
        _E.NOT_SENT: _S.READY,  # what was on its way when the panel lost sight of it was never sent
    },
    _S.APPROVED: {_E.SETTLE_REQUESTED: _S.SETTLING, _E.VOID_REQUESTED: _S.VOIDING},
    _S.SETTLING: {_E.SETTLED: _S.SETTLED, _E.SETTLE_FAILED: _S.SETTLE_FAILED},
    _S.SETTLE_FAILED: {_E.SETTLE_REQUESTED: _S.SETTLING, _E.VOID_REQUESTED: _S.VOIDING},
    # An acquirer may say afterwards that what it had confirmed came to nothing.
    _S.SETTLED: {**_REFUNDABLE, _E.SETTLE_FAILED: _S.SETTLE_FAILED},
    _S.VOIDING: {_E.VOIDED: _S.VOIDED, _E.VOID_FAILED: _S.VOID_FAILED},
    _S.VOID_FAILED: {_E.VOID_REQUESTED: _S.VOIDING, _E.SETTLE_REQUESTED: _S.SETTLING},
    _S.REFUNDING: {
        _E.REFUNDED: _S.REFUNDED,
        _E.PARTLY_REFUNDED: _S.PARTLY_REFUNDED,
        _E.REFUND_FAILED: _S.REFUND_FAILED,
    },
    _S.PARTLY_REFUNDED: {**_REFUNDABLE, _E.REFUND_FAILED: _S.REFUND_FAILED},
    _S.REFUND_FAILED: _REFUNDABLE,
    _S.REVERSED: {_E.CAPTURE_STARTED: _S.CAPTURING, _E.CANCELLED: _S.CANCELLED},
    _S.CANCELLED: {},
    _S.VOIDED: {_E.VOID_FAILED: _S.VOID_FAILED},
    _S.REFUNDED: {_E.REFUND_FAILED: _S.REFUND_FAILED},
}

# The mask comes off by itself only in these: the caller has no card left to key for this payment.
FINAL_FOR_CAPTURE: frozenset[PaymentState] = frozenset(
    state
    for state in PaymentState
    if state not in {_S.CREATED, _S.CAPTURING, _S.READY, _S.AUTHORIZING, _S.DECLINED, _S.UNKNOWN, _S.REVERSED}
)


def next_state(state: PaymentState, event: PaymentEvent) -> PaymentState:
    """The state after the event.

    Raises
    ------
    StateError
        If the event is not allowed in this state.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise StateError(f"a payment that is {state.value} cannot do this") from None


def allows(state: PaymentState, event: PaymentEvent) -> bool:
    """Whether the event is allowed in this state."""
    return event in TRANSITIONS[state]
