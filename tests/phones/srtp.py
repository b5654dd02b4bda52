"""Reads SRTP with the key that the SDP gives (RFC 4568), as whoever sees the signalling could: RFC 3711 by hand."""

from __future__ import annotations

import base64
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# Suite of the SDP -> bytes of the master key, bytes of the tag. The salt is always 14 bytes.
SUITES = {
    "AES_CM_128_HMAC_SHA1_80": (16, 10),
    "AES_CM_128_HMAC_SHA1_32": (16, 4),
    "AES_256_CM_HMAC_SHA1_80": (32, 10),
    "AES_256_CM_HMAC_SHA1_32": (32, 4),
}
_CIPHER, _TAG, _SALT = 0, 1, 2  # the labels of 4.3.1
_SALT_BYTES, _TAG_KEY_BYTES, _HEAD_BYTES = 14, 20, 12


class Srtp:
    """One sender's packets; ``inline`` is the SDP's word for key and salt.

    Raises
    ------
    KeyError
        A suite that is not AES in counter mode.
    """

    def __init__(self, suite: str, inline: str) -> None:
        key_bytes, self._tag_bytes = SUITES[suite]
        both = base64.b64decode(inline.partition("|")[0])
        key, salt = both[:key_bytes], both[key_bytes : key_bytes + _SALT_BYTES]
        self._key = _derive(key, salt, _CIPHER, key_bytes)
        self._tag_key = _derive(key, salt, _TAG, _TAG_KEY_BYTES)
        self._salt = int.from_bytes(_derive(key, salt, _SALT, _SALT_BYTES), "big")
        self._rollover: dict[bytes, int] = {}

    def read(self, packet: bytes) -> bytes | None:
        """The packet in clear, its tag verified; nothing if it is not this sender's."""
        body, tag = packet[: -self._tag_bytes], packet[-self._tag_bytes :]
        source = packet[8:_HEAD_BYTES]
        known = self._rollover.get(source, 0)
        for rollover in (known, known + 1):
            made = hmac.digest(self._tag_key, body + struct.pack("!I", rollover), "sha1")[: self._tag_bytes]
            if hmac.compare_digest(made, tag):
                self._rollover[source] = rollover
                return body[:_HEAD_BYTES] + self._decipher(body, rollover)
        return None

    def _decipher(self, body: bytes, rollover: int) -> bytes:
        ssrc, index = struct.unpack("!I", body[8:12])[0], (rollover << 16) | struct.unpack("!H", body[2:4])[0]
        counter = (self._salt << 16) ^ (ssrc << 64) ^ (index << 16)
        cipher = Cipher(algorithms.AES(self._key), modes.CTR(counter.to_bytes(16, "big")))
        return cipher.decryptor().update(body[_HEAD_BYTES:])


def _derive(key: bytes, salt: bytes, label: int, count: int) -> bytes:
    """Section 4.3.1, with a derivation rate of 0."""
    start = ((int.from_bytes(salt, "big") ^ (label << 48)) << 16).to_bytes(16, "big")
    return Cipher(algorithms.AES(key), modes.CTR(start)).encryptor().update(bytes(count))
