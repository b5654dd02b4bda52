"""The fields of a capture and the errors a caller's keying can meet, named as Twilio's Payments API names them."""

from __future__ import annotations

from enum import StrEnum


class Field(StrEnum):
    """What a caller can be asked to key."""

    CARD_NUMBER = "payment-card-number"
    EXPIRY = "expiration-date"
    SECURITY_CODE = "security-code"
    POSTAL_CODE = "postal-code"


DEFAULT_FIELDS: tuple[Field, ...] = (Field.CARD_NUMBER, Field.EXPIRY, Field.SECURITY_CODE)


class CaptureError(StrEnum):
    """Why a field, or a whole capture, did not work out."""

    INPUT_TIMEOUT = "input-timeout"
    INVALID_CARD_NUMBER = "invalid-card-number"
    INVALID_CARD_TYPE = "invalid-card-type"
    INVALID_DATE = "invalid-date"
    INVALID_SECURITY_CODE = "invalid-security-code"
    INVALID_POSTAL_CODE = "invalid-postal-code"
    CODE_BEFORE_NUMBER = "invalid-card-number-security-code-capture-sequence"
    TOO_MANY_ATTEMPTS = "too-many-failed-attempts"
    CALLER_HUNG_UP = "caller-hung-up"
    SESSION_IN_PROGRESS = "session-in-progress"
    INTERNAL_ERROR = "internal-error"
