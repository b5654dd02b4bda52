"""Calls and legs: a caller leg and an agent leg, joined. Pure: the transitions as one table."""

from __future__ import annotations

from enum import StrEnum

from paycall.domain.errors import StateError


class CallState(StrEnum):
    """Where a call is."""

    RINGING = "ringing"
    CONNECTED = "connected"
    ENDED = "ended"


class Direction(StrEnum):
    """Who dialled. The customer's leg is the masked one either way."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class EndReason(StrEnum):
    """Why a call ended. What concerns the dialled side speaks of the agent inbound, of the customer outbound."""

    CALLER_HUNG_UP = "caller-hung-up"
    AGENT_HUNG_UP = "agent-hung-up"
    NO_ANSWER = "no-answer"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    DECLINED = "declined"
    OPERATOR_NOT_REACHED = "operator-not-reached"
    CANCELLED = "cancelled"
    HUNG_UP_BY_OPERATOR = "hung-up-by-operator"
    CELL_LOST = "cell-lost"
    FAILED = "failed"


class CallEvent(StrEnum):
    """What can happen to a call."""

    CONNECTED = "connected"
    ENDED = "ended"
    FOUND = "found"  # it had been given up as lost


TRANSITIONS: dict[CallState, dict[CallEvent, CallState]] = {
    CallState.RINGING: {CallEvent.CONNECTED: CallState.CONNECTED, CallEvent.ENDED: CallState.ENDED},
    CallState.CONNECTED: {CallEvent.ENDED: CallState.ENDED},
    CallState.ENDED: {CallEvent.FOUND: CallState.RINGING},
}


def next_state(state: CallState, event: CallEvent) -> CallState:
    """The state after the event.

    Raises
    ------
    StateError
        If the event can't happen in this state.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise StateError("this cannot happen to the call any more") from None
