"""Debian's spandsp as a second pair of ears: its DTMF detector, and its G.722 decoder."""

from __future__ import annotations

import ctypes

import numpy as np

_DIGIT_BUFFER = 128


class G722Decoder:
    """spandsp's decoder, to 8 kHz."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libspandsp.so.2")
        self._library.g722_decode_init.restype = ctypes.c_void_p
        self._library.g722_decode_init.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        self._library.g722_decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        self._library.g722_decode_free.argtypes = [ctypes.c_void_p]
        self._state = self._library.g722_decode_init(None, 64000, 1)  # 1: the lower band alone, at 8 kHz

    def decode(self, data: np.ndarray) -> np.ndarray:
        """The next packet's sound, a sample a byte."""
        data, pcm = np.ascontiguousarray(data), np.zeros(data.size, np.int16)
        self._library.g722_decode(self._state, pcm.ctypes.data, data.ctypes.data, data.size)
        return pcm

    def __del__(self) -> None:
        self._library.g722_decode_free(self._state)


def spandsp_keys(pcm: np.ndarray) -> str:
    """The keys that spandsp's detector recovers."""
    library = ctypes.CDLL("libspandsp.so.2")
    library.dtmf_rx_init.restype = ctypes.c_void_p
    library.dtmf_rx_init.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    library.dtmf_rx.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    library.dtmf_rx_get.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.dtmf_rx_get.restype = ctypes.c_size_t
    library.dtmf_rx_free.argtypes = [ctypes.c_void_p]
    receiver = library.dtmf_rx_init(None, None, None)
    samples = np.ascontiguousarray(pcm, dtype=np.int16)
    found = ""
    buffer = ctypes.create_string_buffer(_DIGIT_BUFFER)
    for start in range(0, samples.size, 160):
        block = samples[start : start + 160]
        library.dtmf_rx(receiver, block.ctypes.data, block.size)
        count = library.dtmf_rx_get(receiver, buffer, _DIGIT_BUFFER - 1)
        found += buffer.raw[:count].decode("ascii")
    library.dtmf_rx_free(receiver)
    return found
