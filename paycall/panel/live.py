"""What the caller keys right now, in memory: counts and names, never a digit.

Rules: this is a view, not a record. What must survive a restart is in the database; after one, the cells'
snapshots fill this again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from paycall.domain.authorization import Search
from paycall.domain.fields import Field


@dataclass
class LiveField:
    """A field while it is taken. ``deadline_s`` is on the clock's monotonic scale."""

    state: str = "waiting"
    digits: int = 0
    error: str | None = None
    error_digits: int = 0
    attempts_left: int | None = None
    deadline_s: float | None = None


@dataclass
class LiveCapture:
    """A capture on a call. ``collecting`` is the field that the caller keys now."""

    call_id: str
    payment_id: str
    collecting: Field | None = None
    brand: str | None = None
    fields: dict[Field, LiveField] = field(default_factory=dict)

    def of(self, name: Field) -> LiveField:
        """The field's live state."""
        return self.fields.setdefault(name, LiveField())


class LiveCaptures:
    """All captures that are open, by payment."""

    def __init__(self) -> None:
        self._by_payment: dict[str, LiveCapture] = {}

    def get(self, payment_id: str) -> LiveCapture | None:
        """The payment's open capture, or None."""
        return self._by_payment.get(payment_id)

    def open(self, call_id: str, payment_id: str) -> LiveCapture:
        """The payment's capture, opened if it is not."""
        return self._by_payment.setdefault(payment_id, LiveCapture(call_id, payment_id))

    def close(self, payment_id: str) -> None:
        """The capture is over."""
        self._by_payment.pop(payment_id, None)

    def close_call(self, call_id: str) -> None:
        """The call is over, and with it every capture on it."""
        for payment_id in [p for p, live in self._by_payment.items() if live.call_id == call_id]:
            del self._by_payment[payment_id]


# However often the button is pressed; the vault's own rounds come beside it.
ENQUIRY_EVERY_S = 10.0


class LiveSearches:
    """What the vault is doing about the payments whose outcome is unknown, and when people had it enquire."""

    def __init__(self) -> None:
        self._by_payment: dict[str, tuple[Search, float]] = {}
        self._enquired_at_s: dict[str, float] = {}
        self._enquiring: set[str] = set()

    def begin_enquiry(self, payment_id: str, now_s: float) -> bool:
        """Whether one may be made now; then it is under way."""
        if self._ask_again_in_s(payment_id, now_s) > 0:
            return False
        self._enquired_at_s[payment_id] = now_s
        self._enquiring.add(payment_id)
        return True

    def end_enquiry(self, payment_id: str) -> None:
        """The acquirer has answered, or not."""
        self._enquiring.discard(payment_id)

    def _ask_again_in_s(self, payment_id: str, now_s: float) -> float:
        asked_at_s = self._enquired_at_s.get(payment_id, -ENQUIRY_EVERY_S)
        return max(0.0, asked_at_s + ENQUIRY_EVERY_S - now_s)

    def tell(self, payment_id: str, search: Search | None, now_s: float) -> bool:
        """Keep what the vault told; whether there is something new to show."""
        former = self._by_payment.pop(payment_id, None)
        if search is None:
            return former is not None
        self._by_payment[payment_id] = (search, now_s)
        return former is None or _but_times(former[0]) != _but_times(search)

    def forget(self, payment_id: str) -> None:
        """The outcome is known."""
        self._by_payment.pop(payment_id, None)
        self._enquired_at_s.pop(payment_id, None)

    def view(self, payment_id: str, now_s: float) -> dict[str, Any] | None:
        """As the API shows it; None while the vault has told nothing."""
        found = self._by_payment.get(payment_id)
        if found is None:
            return None
        search, told_at_s = found
        left = {
            name: round(max(0.0, told_at_s + seconds - now_s), 1)
            for name, seconds in (("next_in_s", search.next_in_s), ("people_in_s", search.people_in_s))
            if seconds is not None
        }
        return (
            asdict(search)
            | left
            | {
                "enquiring": payment_id in self._enquiring,
                "enquire_in_s": round(self._ask_again_in_s(payment_id, now_s), 1),
            }
        )


def _but_times(search: Search) -> Search:
    return replace(search, next_in_s=0, people_in_s=None)


def field_view(name: str, stored: bool, live: LiveCapture | None, now_s: float) -> dict[str, Any]:
    """A field as the API shows it."""
    item = live.fields.get(Field(name)) if live else None
    collecting = live is not None and live.collecting == name
    state = "collecting" if collecting else "stored" if stored else "waiting"
    if item is not None and item.state == "failed" and not stored:
        state = "collecting" if collecting else "failed"
    seconds_left = None
    if collecting and item is not None and item.deadline_s is not None:
        seconds_left = round(max(0.0, item.deadline_s - now_s), 1)
    return {
        "field": name,
        "state": state,
        "digits": item.digits if item else 0,
        "error": item.error if item else None,
        "error_digits": item.error_digits if item else 0,
        "attempts_left": item.attempts_left if item else None,
        "seconds_left": seconds_left,
    }
