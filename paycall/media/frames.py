"""Reads and writes the samples of a pjsua2 ``MediaFrame`` in microseconds.

``frame.buf`` is a SWIG proxy of ``std::vector<unsigned char>``; element by element it costs about 100 µs a frame, and
each attribute of a frame that goes through SWIG a few more. A frame is a C++ structure (type, vector, size), and a
vector starts with two pointers (begin, end), so all of it can be read where it lies. That layout is checked once at
the start against the slow way; where it does not hold, the slow way is used.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pjsua2 as pj
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


class _Frame(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("begin", ctypes.c_size_t),
        ("end", ctypes.c_size_t),
        ("capacity_end", ctypes.c_size_t),
        ("size", ctypes.c_uint),
    )


_Vector = ctypes.c_size_t * 2


def _fast_bytes(frame: pj.MediaFrame) -> bytes:
    raw = _Frame.from_address(int(frame.this))
    begin = raw.begin
    data: bytes = (ctypes.c_char * (raw.end - begin)).from_address(begin).raw
    return data


def _slow_bytes(frame: pj.MediaFrame) -> bytes:
    return bytes(frame.buf)


def _layout_holds() -> bool:
    sample = bytes(range(256)) + b"\x00\x7f\xff" * 21
    vector = pj.ByteVector(sample)
    begin, end = _Vector.from_address(int(vector.this))
    if not begin < end or end - begin != len(sample) or ctypes.string_at(begin, len(sample)) != sample:
        return False
    frame = pj.MediaFrame()
    frame.buf, frame.size, frame.type = vector, 0x1234, pj.PJMEDIA_FRAME_TYPE_EXTENDED
    raw = _Frame.from_address(int(frame.this))
    if (raw.type, raw.size, raw.end - raw.begin) != (frame.type, frame.size, len(sample)):
        return False
    raw.type, raw.size = pj.PJMEDIA_FRAME_TYPE_AUDIO, 0x4321
    written = frame.type == pj.PJMEDIA_FRAME_TYPE_AUDIO and frame.size == 0x4321
    return written and _fast_bytes(frame) == sample == _slow_bytes(frame)


FAST = _layout_holds()
_read_bytes = _fast_bytes if FAST else _slow_bytes


def read_samples(frame: pj.MediaFrame, samples: int) -> Pcm:
    """The frame's audio as int16, shape ``(samples,)``; silence for a frame that carries none."""
    data = _read_bytes(frame)
    if len(data) != samples * 2:  # nothing is being said
        return np.zeros(samples, dtype=np.int16)
    return np.frombuffer(data, dtype=np.int16)


class FrameWriter:
    """Puts samples into a frame through one vector that is kept for it."""

    def __init__(self, samples: int) -> None:
        self._bytes = samples * 2
        self._vector = pj.ByteVector(bytes(self._bytes))
        if FAST:
            address = _Vector.from_address(int(self._vector.this))[0]
            self._samples = np.ctypeslib.as_array((ctypes.c_int16 * samples).from_address(address))

    def write(self, frame: pj.MediaFrame, pcm: Pcm) -> None:
        """Make ``pcm`` (int16, exactly the writer's length) the frame's audio.

        Raises
        ------
        ValueError
            If the length is another.
        """
        if pcm.nbytes != self._bytes:
            raise ValueError("the frame has another length")
        if FAST:
            self._samples[:] = pcm
            frame.buf = self._vector
            raw = _Frame.from_address(int(frame.this))
            raw.type, raw.size = pj.PJMEDIA_FRAME_TYPE_AUDIO, self._bytes
        else:
            frame.buf = pj.ByteVector(pcm.tobytes())
            frame.size = self._bytes
            frame.type = pj.PJMEDIA_FRAME_TYPE_AUDIO
