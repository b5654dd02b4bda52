"""Debian's libspandsp2 through ctypes: the peer to compare with, and a GSM 06.10 codec.

Nothing of it is in the product; only tests and the benchmark load it.
"""

from __future__ import annotations

import ctypes
import time

import numpy as np

_GSM_FRAME = 160
_GSM_UNPACKED = 76


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL("libspandsp.so.2")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("dtmf_rx_init", pointer, [pointer, pointer, pointer]),
        ("dtmf_rx", number, [pointer, pointer, number]),
        ("dtmf_rx_get", ctypes.c_size_t, [pointer, ctypes.c_char_p, number]),
        ("dtmf_rx_parms", None, [pointer, number, ctypes.c_float, ctypes.c_float, ctypes.c_float]),
        ("dtmf_rx_free", number, [pointer]),
        ("gsm0610_init", pointer, [pointer, number]),
        ("gsm0610_encode", number, [pointer, pointer, pointer, number]),
        ("gsm0610_decode", number, [pointer, pointer, pointer, number]),
        ("gsm0610_free", number, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIB = _load()


class SpandspDetector:
    """spandsp's DTMF receiver with its own defaults."""

    def __init__(self) -> None:
        self._state = LIB.dtmf_rx_init(None, None, None)
        self._digits = ctypes.create_string_buffer(129)

    def process(self, pcm: np.ndarray) -> str:
        pcm = np.ascontiguousarray(pcm, dtype=np.int16)
        keys = ""
        for start in range(0, pcm.size, 8000):  # its buffer holds 128 keys
            part = pcm[start : start + 8000]
            LIB.dtmf_rx(self._state, part.ctypes.data, part.size)
            if LIB.dtmf_rx_get(self._state, self._digits, 128):
                keys += self._digits.value.decode()
        return keys

    def __del__(self) -> None:
        LIB.dtmf_rx_free(self._state)


def detect(pcm: np.ndarray) -> str:
    """All keys that spandsp hears in a recording of 8 kHz int16 samples."""
    return SpandspDetector().process(np.concatenate([pcm, np.zeros(800, dtype=np.int16)]))


def gsm(pcm: np.ndarray) -> np.ndarray:
    """Through a GSM 06.10 full-rate coder and decoder."""
    frames = -(-pcm.size // _GSM_FRAME)
    padded = np.zeros(frames * _GSM_FRAME, dtype=np.int16)
    padded[: pcm.size] = pcm
    code = np.zeros(frames * _GSM_UNPACKED, dtype=np.uint8)
    out = np.zeros_like(padded)
    coder, decoder = LIB.gsm0610_init(None, 0), LIB.gsm0610_init(None, 0)
    LIB.gsm0610_encode(coder, code.ctypes.data, padded.ctypes.data, padded.size)
    LIB.gsm0610_decode(decoder, out.ctypes.data, code.ctypes.data, code.size)
    LIB.gsm0610_free(coder)
    LIB.gsm0610_free(decoder)
    return out[: pcm.size]


def cpu_seconds(channels: np.ndarray, block: int) -> float:
    """CPU time of spandsp's C code alone for int16 ``channels`` (channels, samples), in blocks.

    The cost of the call through ctypes is measured with empty blocks and taken off, so that the
    peer is not charged for Python.
    """
    count, length = channels.shape
    states = [LIB.dtmf_rx_init(None, None, None) for _ in range(count)]
    bases = [channels[i].ctypes.data for i in range(count)]
    starts = range(0, length - block + 1, block)

    def run(size: int) -> float:
        begin = time.process_time()
        for start in starts:
            for state, base in zip(states, bases, strict=True):
                LIB.dtmf_rx(state, base + 2 * start, size)
        return time.process_time() - begin

    spent = run(block) - run(0)
    for state in states:
        LIB.dtmf_rx_free(state)
    return spent
