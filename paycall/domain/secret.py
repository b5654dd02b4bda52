"""Card data that cannot slip out: masking is in the type, reading is one explicit word.

A secret cannot be printed, formatted, logged, pickled, copied, JSON-encoded, iterated, hashed or compared in
variable time. ``expose()`` and ``write_into()`` are the only ways to its content; each call of them is a place to
review. ``wipe()`` overwrites the bytes that we hold. A refused value is out of our frames before the exception
leaves them, so a traceback that shows variables does not show it. What Python can't promise: the ``str`` that
``expose()`` returns, and what a library makes of it, lives until the interpreter reuses its memory.
"""

from __future__ import annotations

import hmac
from typing import NoReturn, final

from paycall.domain.card import Brand, brand_of, check_number
from paycall.domain.errors import CardDataError
from paycall.domain.fields import CaptureError

DIGITS = frozenset("0123456789")
DIAL_KEYS = DIGITS | frozenset("*#ABCD")


class Secret:
    """Base: digits in a ``bytearray`` that is overwritten by ``wipe()`` and when the object goes.

    Raises
    ------
    CardDataError
        With ``internal-error``, if a character is not ASCII.
    """

    __slots__ = ("__weakref__", "_digits")

    def __init__(self, digits: str) -> None:
        if not digits.isascii():  # the encoder's own error would carry the text
            del digits
            raise CardDataError(CaptureError.INTERNAL_ERROR)
        self._digits = bytearray(digits, "ascii")

    def expose(self) -> str:
        """The content itself. Say why at each use."""
        return self._digits.decode("ascii")

    def write_into(self, target: bytearray, start: int) -> None:
        """Copy the content over ``target`` from ``start`` on; no text is made of it. Say why at each use."""
        target[start : start + len(self._digits)] = self._digits

    def wipe(self) -> None:
        """Overwrite the content with zeros; ``expose()`` gives nothing afterwards."""
        for index in range(len(self._digits)):
            self._digits[index] = 0
        self._digits = bytearray()

    @property
    def wiped(self) -> bool:
        """Whether there is nothing left to expose."""
        return not self._digits

    def __del__(self) -> None:
        digits = getattr(self, "_digits", None)
        if digits:
            self.wipe()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return hmac.compare_digest(self._digits, other._digits)

    __hash__ = None  # type: ignore[assignment]  # a hash of a card number is card data

    def __refuse(self, *_: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be copied or serialised")

    __reduce__ = __refuse
    __reduce_ex__ = __refuse
    __copy__ = __refuse
    __deepcopy__ = __refuse
    __getstate__ = __refuse


@final
class DigitBuffer(Secret):
    """Digits of a field while they are keyed. Its length, and only that, may be told.

    Raises
    ------
    CardDataError
        With ``internal-error``, if a character is not a digit.
    """

    __slots__ = ()

    def __init__(self, digits: str = "") -> None:
        if not DIGITS.issuperset(digits):
            del digits
            raise CardDataError(CaptureError.INTERNAL_ERROR)
        super().__init__(digits)

    def plus(self, digit: str) -> DigitBuffer:
        """A new buffer with one more digit."""
        return DigitBuffer(self.expose() + digit)

    def __len__(self) -> int:
        return len(self._digits)


@final
class KeyBuffer(Secret):
    """Keys of the dial pad, digits or not, that were pressed before their field could be taken.

    Raises
    ------
    CardDataError
        With ``internal-error``, if a character is on no dial pad.
    """

    __slots__ = ()

    def __init__(self, keys: str = "") -> None:
        if not DIAL_KEYS.issuperset(keys):
            del keys
            raise CardDataError(CaptureError.INTERNAL_ERROR)
        super().__init__(keys)

    def plus(self, key: str) -> KeyBuffer:
        """A new buffer with one more key."""
        return KeyBuffer(self.expose() + key)


@final
class Pan(Secret):
    """A card number that ``card.check_number`` accepts: its brand's lengths, its Luhn digit where it has one.

    Raises
    ------
    CardDataError
        With ``invalid-card-number``.
    """

    __slots__ = ("brand", "last4")

    def __init__(self, digits: str) -> None:
        if check_number(digits) is not None:
            del digits
            raise CardDataError(CaptureError.INVALID_CARD_NUMBER)
        super().__init__(digits)
        self.brand: Brand | None = brand_of(digits)
        self.last4: str = digits[-4:]


@final
class SecurityCode(Secret):
    """The three or four digits printed on the card. Never stored, wiped after use.

    Raises
    ------
    CardDataError
        With ``invalid-security-code``.
    """

    __slots__ = ()

    def __init__(self, digits: str) -> None:
        if not (DIGITS.issuperset(digits) and len(digits) in (3, 4)):
            del digits
            raise CardDataError(CaptureError.INVALID_SECURITY_CODE)
        super().__init__(digits)
