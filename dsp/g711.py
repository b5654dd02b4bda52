"""ITU-T G.711: A-law and µ-law, by table.

The tables are built at import from the rules of the recommendation (as in the ITU's own software
tool library, G.191), and every code and every one of the 65 536 linear values goes through them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.ma import MaskedArray
from numpy.typing import NDArray

from dsp.checks import Pcm, check_pcm

Codes = NDArray[np.uint8]

_ULAW_BIAS = 33  # in 14-bit units


def _alaw_expand(code: int) -> int:
    bits = code ^ 0x55
    exponent, mantissa = (bits >> 4) & 7, bits & 0xF
    value = (mantissa << 4) + 8
    if exponent:
        value = (value + 0x100) << (exponent - 1)
    return value if code & 0x80 else -value


def _ulaw_expand(code: int) -> int:
    bits = ~code
    exponent, mantissa = (bits >> 4) & 7, bits & 0xF
    value = (((mantissa << 1) + _ULAW_BIAS) << exponent) - _ULAW_BIAS
    return 4 * value if code & 0x80 else -4 * value


def _alaw_compress(value: int) -> int:
    magnitude = (value if value >= 0 else ~value) >> 4
    exponent = 0
    if magnitude > 15:
        exponent = 1
        while magnitude > 31:
            magnitude >>= 1
            exponent += 1
        magnitude -= 16
    return ((exponent << 4) | magnitude | (0x80 if value >= 0 else 0)) ^ 0x55


def _ulaw_compress(value: int) -> int:
    magnitude = min(((value if value >= 0 else ~value) >> 2) + _ULAW_BIAS, 0x1FFF)
    exponent = magnitude.bit_length() - 6
    mantissa = (magnitude >> (exponent + 1)) & 0xF
    return ((0x70 - (exponent << 4)) | (0xF - mantissa)) | (0x80 if value >= 0 else 0)


_ALAW_TO_LINEAR = np.array([_alaw_expand(code) for code in range(256)], dtype=np.int16)
_ULAW_TO_LINEAR = np.array([_ulaw_expand(code) for code in range(256)], dtype=np.int16)


def _compress_table(compress: Any, step: int) -> Codes:
    """Codes by ``uint16`` view of the sample; the law is constant over ``step`` linear values."""
    values = range(-32768, 32768, step)
    codes = np.repeat(np.array([compress(value) for value in values], dtype=np.uint8), step)
    return np.roll(codes, -32768)


_LINEAR_TO_ALAW = _compress_table(_alaw_compress, 16)
_LINEAR_TO_ULAW = _compress_table(_ulaw_compress, 4)


def _check_codes(codes: Any) -> Codes:
    if not isinstance(codes, np.ndarray) or isinstance(codes, MaskedArray) or codes.dtype != np.uint8:
        raise ValueError("G.711 codes must be a numpy array of uint8")
    if codes.ndim != 1:
        raise ValueError("codes must be one-dimensional: one channel")
    return codes


def encode_alaw(pcm: Pcm) -> Codes:
    """Linear int16, shape ``(n,)``, to A-law codes, uint8, shape ``(n,)``. Raises ``ValueError``."""
    return np.asarray(_LINEAR_TO_ALAW[check_pcm(pcm).view(np.uint16)])


def decode_alaw(codes: Codes) -> Pcm:
    """A-law codes, uint8, shape ``(n,)``, to linear int16, shape ``(n,)``. Raises ``ValueError``."""
    return np.asarray(_ALAW_TO_LINEAR[_check_codes(codes)])


def encode_ulaw(pcm: Pcm) -> Codes:
    """Linear int16, shape ``(n,)``, to µ-law codes, uint8, shape ``(n,)``. Raises ``ValueError``."""
    return np.asarray(_LINEAR_TO_ULAW[check_pcm(pcm).view(np.uint16)])


def decode_ulaw(codes: Codes) -> Pcm:
    """µ-law codes, uint8, shape ``(n,)``, to linear int16, shape ``(n,)``. Raises ``ValueError``."""
    return np.asarray(_ULAW_TO_LINEAR[_check_codes(codes)])
