"""Identifiers: a prefix and 22 random letters (103 bits).

Letters only: no identifier can be taken for a card number, by a person or by a scan, and a message whose
strings are all identifiers cannot carry a digit.
"""

from __future__ import annotations

import re
import secrets

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LENGTH = 22
ID_PATTERN = r"^[a-z]{2,8}_[a-z]{22}$"
_ID = re.compile(ID_PATTERN)


def new_id(prefix: str) -> str:
    """A new identifier such as ``call_`` and 22 letters."""
    return f"{prefix}_{''.join(secrets.choice(_LETTERS) for _ in range(_LENGTH))}"


def is_id(text: str, prefix: str) -> bool:
    """Whether ``text`` is an identifier of this kind."""
    return bool(_ID.fullmatch(text)) and text.startswith(f"{prefix}_")
