"""AES-256-GCM and HMAC-SHA-256 as the vault uses them; nothing else in paycall encrypts card data.

Rules: a fresh random 96-bit nonce for every encryption, the 128-bit tag always kept; associated data is a list
of length-prefixed parts, so that no two lists give the same bytes. Source: NIST SP 800-38D, RFC 2104.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from paycall.domain.errors import TamperedError
from paycall.domain.secret import Pan

NONCE_BYTES = 12
TAG_BYTES = 16


def associated_data(*parts: str | int | bytes | None) -> bytes:
    """The parts in one unambiguous byte string; None differs from empty."""
    joined = bytearray()
    for part in parts:
        if part is None:
            joined += b"\xff\xff\xff\xff"
            continue
        raw = part if isinstance(part, bytes) else str(part).encode()
        joined += len(raw).to_bytes(4, "big") + raw
    return bytes(joined)


def encrypt(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Nonce, ciphertext and tag in one string, ``context`` authenticated with it."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context)


def decrypt(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The plaintext of ``encrypt``.

    Raises
    ------
    TamperedError
        If key, context or any byte is not what it was.
    """
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise TamperedError
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except InvalidTag:
        raise TamperedError from None


def card_fingerprint(key: bytes, pan: Pan) -> bytes:
    """32 bytes that recognise a card number without telling it: useless without the key."""
    return hmac.new(key, b"paycall-card-fingerprint-1:" + pan.expose().encode(), hashlib.sha256).digest()
