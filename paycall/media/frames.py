"""Reads and writes the samples of a pjsua2 ``MediaFrame`` in microseconds.

``frame.buf`` is a SWIG proxy of ``std::vector<unsigned char>``; element by element it costs about 100 µs a frame.
The vector's memory starts with two pointers (begin, end), so its bytes can be read where they lie. That layout is
checked once at the start against the slow way; where it does not hold, the slow way is used.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pjsua2 as pj
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
_TwoPointers = ctypes.c_size_t * 2


def _fast_bytes(vector: pj.ByteVector) -> bytes:
    begin, end = _TwoPointers.from_address(int(vector.this))
    return ctypes.string_at(begin, end - begin)


def _slow_bytes(vector: pj.ByteVector) -> bytes:
    return bytes(vector)


def _layout_holds() -> bool:
    sample = bytes(range(256)) + b"\x00\x7f\xff" * 21
    vector = pj.ByteVector(sample)
    begin, end = _TwoPointers.from_address(int(vector.this))
    return begin < end and end - begin == len(sample) and ctypes.string_at(begin, len(sample)) == sample


FAST = _layout_holds()
_read_bytes = _fast_bytes if FAST else _slow_bytes


def read_samples(frame: pj.MediaFrame, samples: int) -> Pcm:
    """The frame's audio as int16, shape ``(samples,)``; silence for a frame that carries none."""
    data = _read_bytes(frame.buf)
    if len(data) != samples * 2:  # nothing is being said
        return np.zeros(samples, dtype=np.int16)
    return np.frombuffer(data, dtype=np.int16)


class FrameWriter:
    """Puts samples into a frame through one vector that is kept for it."""

    def __init__(self, samples: int) -> None:
        self._bytes = samples * 2
        self._vector = pj.ByteVector(bytes(self._bytes))
        self._address = _TwoPointers.from_address(int(self._vector.this))[0] if FAST else 0

    def write(self, frame: pj.MediaFrame, pcm: Pcm) -> None:
        """Make ``pcm`` (int16, exactly the writer's length) the frame's audio.

        Raises
        ------
        ValueError
            If the length is another.
        """
        data = pcm.tobytes()
        if len(data) != self._bytes:
            raise ValueError("the frame has another length")
        if FAST:
            ctypes.memmove(self._address, data, self._bytes)
            frame.buf = self._vector
        else:
            frame.buf = pj.ByteVector(data)
        frame.size = self._bytes
        frame.type = pj.PJMEDIA_FRAME_TYPE_AUDIO
