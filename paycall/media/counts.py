"""What a cell counts: calls, captures, keys by way, faults. Its node adds them up (``metrics.py``).

Rules: plain numbers by the fixed names of ``CELL_COUNTS``, sent with every report to the node. No name or label
comes from a call: reasons, errors and ways are closed sets, and no figure says which key. No Prometheus here: there
are many cells, and each would hold it.
"""

from __future__ import annotations

import structlog

from paycall.control import messages
from paycall.control.messages import Event

log = structlog.get_logger(__name__)

# name of a cell's count -> (what it is, its label). In a report a count is "name" or "name:label's value".
CELL_COUNTS: dict[str, tuple[str, str]] = {
    "calls": ("Calls that arrived.", ""),
    "calls_connected": ("Calls in which caller and agent were joined.", ""),
    "calls_ended": ("Calls that ended, by reason.", "reason"),
    "captures_started": ("Captures that began: the agent leg was masked.", ""),
    "captures_completed": ("Captures in which every field was stored.", ""),
    "captures_ended": ("Captures that ended; the reason is an error, or asked for.", "reason"),
    "fields_stored": ("Fields that the vault took.", "field"),
    "fields_failed": ("Fields that were not accepted.", "error"),
    "keys": ("Keys of callers, by the way they came.", "way"),
    "mask_alarms": ("The mask failed a check and the agent leg was muted.", "kind"),
    "agent_leg_keys": ("Keys that the independent listener heard on agent legs while capturing.", ""),
    "audio_blocks_late": ("20 ms blocks of masked audio that came more than 20 ms late.", ""),
    "vault_failures": ("Tries to hand a field to the vault that got no answer.", ""),
}


class Counts:
    """A cell's counts. Each name is counted in one thread only."""

    def __init__(self) -> None:
        self._counts: dict[str, float] = {}

    def add(self, name: str, label: str = "", by: float = 1) -> None:
        """Count. A name that is not in ``CELL_COUNTS`` is a ``KeyError``: it would never be shown."""
        CELL_COUNTS[name]
        key = f"{name}:{label}" if label else name
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
