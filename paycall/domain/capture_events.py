"""What can happen to a capture (events, past tense) and what is then to be done (effects, imperative).

Pure data for ``capture.py``. Values that are card data are in no repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from paycall.domain.card import Brand
from paycall.domain.fields import CaptureError, Field
from paycall.domain.secret import DigitBuffer

# ---- events (what happened) -----------------------------------------------------------------------------


@dataclass(frozen=True)
class KeyPressed:
    """The caller pressed a key. The key is card data: it is in no repr."""

    key: str = field(repr=False)


@dataclass(frozen=True)
class TimePassed:
    """``state.deadline`` may have come."""


@dataclass(frozen=True)
class FieldsRequested:
    """The operator wants these fields (again)."""

    fields: tuple[Field, ...]


@dataclass(frozen=True)
class FieldDropped:
    """The operator does without this field."""

    field: Field


@dataclass(frozen=True)
class FieldAccepted:
    """The vault has the field."""

    field: Field
    token: str


@dataclass(frozen=True)
class FieldRefused:
    """The vault refused the field."""

    field: Field
    error: CaptureError


@dataclass(frozen=True)
class VaultUnreachable:
    """The vault could not be reached for as long as a finished field may wait."""

    field: Field


@dataclass(frozen=True)
class EndRequested:
    """The payment is cancelled or final, or the operator ends the capture."""


@dataclass(frozen=True)
class CallerHungUp:
    """There is nobody to key any more."""


Event = (
    KeyPressed
    | TimePassed
    | FieldsRequested
    | FieldDropped
    | FieldAccepted
    | FieldRefused
    | VaultUnreachable
    | EndRequested
    | CallerHungUp
)


# ---- effects (what is to be done) -----------------------------------------------------------------------


@dataclass(frozen=True)
class EnableMask:
    """Mask the agent leg, now, before anything else."""


@dataclass(frozen=True)
class DisableMask:
    """Open the agent leg again."""


@dataclass(frozen=True)
class StoreField:
    """Hand the field to the vault, then wipe the value."""

    field: Field
    value: DigitBuffer


@dataclass(frozen=True)
class ReportStarted:
    """Tell the panel that the capture runs, masked."""


@dataclass(frozen=True)
class ReportField:
    """Tell the panel (and prompt the caller) that this field is expected now."""

    field: Field
    seconds: float
    attempts_left: int


@dataclass(frozen=True)
class ReportProgress:
    """Tell the panel how many digits there are."""

    field: Field
    digits: int
    seconds: float
    brand: Brand | None = None


@dataclass(frozen=True)
class ReportStored:
    """Tell the panel that the vault has the field."""

    field: Field
    token: str


@dataclass(frozen=True)
class ReportFailed:
    """Tell the panel (and the caller) what was wrong with the field."""

    field: Field
    error: CaptureError
    digits: int
    attempts_left: int


@dataclass(frozen=True)
class ReportCompleted:
    """Tell the panel that every field asked for is stored."""

    token: str


@dataclass(frozen=True)
class ReportEnded:
    """Tell the panel that the capture is over."""

    error: CaptureError | None = None


Effect = (
    EnableMask
    | DisableMask
    | StoreField
    | ReportStarted
    | ReportField
    | ReportProgress
    | ReportStored
    | ReportFailed
    | ReportCompleted
    | ReportEnded
)
