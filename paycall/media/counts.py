"""What a cell counts: calls, captures, keys by way, faults. Its node adds them up (``metrics.py``).

Rules: plain numbers by the fixed names of ``CELL_COUNTS``, sent with every report to the node. No name or label
comes from a call: reasons, errors and ways are closed sets, and no figure says which key. No Prometheus here: there
are many cells, and each would hold it.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from paycall.control import messages
from paycall.control.messages import Event
from paycall.domain.call import EndReason
from paycall.domain.fields import CaptureError, Field
from paycall.media.keys import Way

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Count:
    """What is counted, and the label that tells its kinds apart; each is shown from the start, as 0."""

    text: str
    label: str = ""
    values: tuple[str, ...] = ()


# In a report a count is "name", or "name:label's value".
CELL_COUNTS: dict[str, Count] = {
    "calls": Count("Calls that arrived."),
    "calls_connected": Count("Calls in which caller and agent were joined."),
    "calls_ended": Count("Calls that ended, by reason.", "reason", tuple(EndReason)),
    "captures_started": Count("Captures that began: the agent leg was masked."),
    "captures_completed": Count("How often every field that was asked for was stored."),
    "captures_ended": Count(
        "Captures that ended; the reason is an error, or asked-for.", "reason", ("asked-for", *CaptureError)
    ),
    "fields_stored": Count("Fields that the vault took.", "field", tuple(Field)),
    "fields_failed": Count("Fields that were not accepted.", "error", tuple(CaptureError)),
    "keys": Count("Keys that captures took, by the way they came.", "way", tuple(way.value for way in Way)),
    "mask_alarms": Count(
        "The mask failed a check and the agent leg was muted.",
        "kind",
        ("key-on-agent-leg", "bridge-connection", "audio-path-error"),
    ),
    "agent_leg_keys": Count("Keys that the independent listener heard on agent legs while capturing."),
    "audio_blocks_late": Count("20 ms blocks of masked audio that came more than 20 ms late."),
    "recordings_started": Count("Recordings that began."),
    "recordings_completed": Count("Recordings that were ended with their call."),
    "recording_failures": Count(
        "Recordings that could not be begun or went no further; their calls went on."
    ),
    "vault_failures": Count("Tries to hand a field to the vault that got no answer."),
}


# Limits, in seconds, of how long it takes from a key's end (or its event's arrival) to the word on it to the panel.
KEY_DELAY_LIMITS_S = ("0.02", "0.05", "0.075", "0.1", "0.15", "0.25", "0.5", "+Inf")
KEY_DELAY, KEY_DELAY_SUM = "key_delay", "key_delay_sum"


class Counts:
    """A cell's counts. Each name is counted in one thread only."""

    def __init__(self) -> None:
        self._counts: dict[str, float] = {}

    def add(self, name: str, label: str = "", by: float = 1) -> None:
        """Count. What is not in ``CELL_COUNTS`` is an error: it would never be shown."""
        if label not in (CELL_COUNTS[name].values or ("",)):
            raise ValueError("a count's label that is not one of the known")
        self._add(f"{name}:{label}" if label else name, by)

    def key_told(self, delay_s: float) -> None:
        """A captured key was told to the panel, so long after it was over."""
        self._add(f"{KEY_DELAY}:{next(limit for limit in KEY_DELAY_LIMITS_S if delay_s <= float(limit))}", 1)
        self._add(KEY_DELAY_SUM, delay_s)

    def _add(self, key: str, by: float) -> None:
        self._counts[key] = self._counts.get(key, 0) + by

    def all(self) -> dict[str, float]:
        """A copy, for a report."""
        return dict(self._counts)

    def note(self, event: Event) -> None:
        """Count and log what a call's event tells. Progress is not logged: a line a key would say when it was."""
        match event:
            case messages.CallArrived():
                self.add("calls")
                log.info("call_arrived", call_id=event.call_id, direction=event.direction.value)
            case messages.CallConnected():
                self.add("calls_connected")
                log.info("call_connected", call_id=event.call_id)
            case messages.CallEnded():
                self.add("calls_ended", event.reason.value)
                self.add("agent_leg_keys", by=event.agent_leg_keys)
                log.info("call_ended", call_id=event.call_id, reason=event.reason.value)
            case messages.CaptureStarted():
                self.add("captures_started")
                log.info("capture_started", call_id=event.call_id, payment_id=event.payment_id)
            case messages.CaptureCompleted():
                self.add("captures_completed")
                log.info("capture_completed", call_id=event.call_id, payment_id=event.payment_id)
            case messages.CaptureEnded():
                reason = event.error.value if event.error else "asked-for"
                self.add("captures_ended", reason)
                log.info("capture_ended", call_id=event.call_id, payment_id=event.payment_id, reason=reason)
            case messages.FieldStored():
                self.add("fields_stored", event.field.value)
                log.info("field_stored", payment_id=event.payment_id, field=event.field.value)
            case messages.FieldFailed():
                self.add("fields_failed", event.error.value)
                log.info(
                    "field_failed",
                    payment_id=event.payment_id,
                    field=event.field.value,
                    reason=event.error.value,
                )
            case messages.SecurityAlarm():
                self.add("mask_alarms", event.kind)
            case _:
                pass
