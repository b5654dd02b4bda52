"""What a SIP status of the dialled side means for a call: the reason of its end, and what whoever dialled is told."""

from __future__ import annotations

from paycall.domain.call import EndReason

UNAVAILABLE = 503
NO_PLACE = 0  # no SIP status: PJSIP has no place for the leg, the phone was never asked
OUR_OWN = frozenset({408, 487})  # what PJSIP says of an INVITE that timed out, or that we took back
_BUSY = frozenset({486, 600})
_NO_ANSWER = frozenset({408, 480, 487})
_DECLINED = frozenset({403, 603, 607, 608})
# Challenges and loops of ours with the trunk: nothing that the operator's phone could do anything about.
_NOT_FOR_PHONES = frozenset({401, 407, 481, 482, 483, 487, 491})


def inbound_failure(status: int) -> tuple[EndReason, int]:
    """The agent did not answer: the reason, and the status for the caller.

    500 says that this cell can't, 486 and 503 that the agent's side does not.
    """
    if status == NO_PLACE:
        return EndReason.UNREACHABLE, 500
    if status in _BUSY or status == 603:
        return EndReason.BUSY, 486
    if status in _NO_ANSWER:
        return EndReason.NO_ANSWER, 480
    return EndReason.UNREACHABLE, 503


def outbound_failure(status: int) -> tuple[EndReason, int]:
    """The customer did not answer: the reason, and the trunk's own status for the operator's phone."""
    answer = status if 400 <= status < 700 and status not in _NOT_FOR_PHONES else UNAVAILABLE
    if status in _BUSY:
        return EndReason.BUSY, answer
    if status in _NO_ANSWER:
        return EndReason.NO_ANSWER, 480 if status == 487 else answer
    if status in _DECLINED:
        return EndReason.DECLINED, answer
    return EndReason.UNREACHABLE, answer
