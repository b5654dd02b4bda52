"""Card numbers that were keyed in a recording: a WAV file's tones, each channel for itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dsp import g711
from dsp.detector import detect
from paycall.scan.numbers import LONGEST, SHORTEST, is_card_number

_PCM, _ALAW, _ULAW = 1, 6, 7
_EXTENSIBLE = 0xFFFE
_RATES_HZ = (8000, 16000)
_PAUSE_S = 10.0  # a longer silence ends a sequence of keys


def numbers_in_wav(content: bytes) -> Iterator[tuple[float, str]]:
    """Card numbers keyed in a recording, as second and digits; nothing for a file that can't be decoded."""
    decoded = _decode(content)
    if decoded is None:
        return
    rate_hz, channels = decoded
    for channel in channels:
        yield from _numbers_in_keys(detect(_at_a_known_rate(channel, rate_hz), _known_rate(rate_hz)))


def _numbers_in_keys(keys: list[tuple[str, float, float]]) -> Iterator[tuple[float, str]]:
    """Any stretch of keys will do: nobody keys sixteen digits with a check digit by chance."""
    run: list[tuple[str, float]] = []
    last_end_s = 0.0
    for symbol, start_s, end_s in [*keys, ("#", float("inf"), float("inf"))]:
        if symbol.isdigit() and (not run or start_s - last_end_s <= _PAUSE_S):
            run.append((symbol, start_s))
        else:
            yield from _numbers_in_run(run)
            run = [(symbol, start_s)] if symbol.isdigit() else []
        last_end_s = end_s


def _numbers_in_run(run: list[tuple[str, float]]) -> Iterator[tuple[float, str]]:
    digits = "".join(symbol for symbol, _ in run)
    first = 0
    while first + SHORTEST <= len(digits):
        for length in range(LONGEST, SHORTEST - 1, -1):
            if is_card_number(digits[first : first + length]):
                yield run[first][1], digits[first : first + length]
                first += length - 1
                break
        first += 1


def _decode(content: bytes) -> tuple[int, list[NDArray[np.int16]]] | None:
    """Rate and channels of a WAV file in 8 or 16 bit PCM, A-law or µ-law."""
    layout = None
    position = 12
    while position + 8 <= len(content):
        name, size = (
            content[position : position + 4],
            int.from_bytes(content[position + 4 : position + 8], "little"),
        )
        body = content[position + 8 : position + 8 + size]
        if name == b"fmt " and len(body) >= 16:
            layout = struct.unpack("<HHIIHH", body[:16])
            if layout[0] == _EXTENSIBLE and len(body) >= 26:
                layout = (int.from_bytes(body[24:26], "little"), *layout[1:])
        if name == b"data" and layout is not None:
            samples = _samples(layout[0], layout[5], body)
            count = max(1, layout[1])
            if samples is None or not layout[2]:
                return None
            whole = samples[: len(samples) // count * count].reshape(-1, count)
            return layout[2], [np.ascontiguousarray(whole[:, n]) for n in range(count)]
        position += 8 + size + size % 2
    return None


def _samples(encoding: int, bits: int, body: bytes) -> NDArray[np.int16] | None:
    codes = np.frombuffer(body, dtype=np.uint8)
    if encoding == _ALAW:
        return g711.decode_alaw(codes)
    if encoding == _ULAW:
        return g711.decode_ulaw(codes)
    if encoding == _PCM and bits == 16:
        return np.frombuffer(body[: len(body) // 2 * 2], dtype="<i2").astype(np.int16)
    if encoding == _PCM and bits == 8:
        return ((codes.astype(np.int16) - 128) << 8).astype(np.int16)
    return None


def _known_rate(rate_hz: int) -> int:
    return rate_hz if rate_hz in _RATES_HZ else _RATES_HZ[0]


def _at_a_known_rate(pcm: NDArray[np.int16], rate_hz: int) -> NDArray[np.int16]:
    """Resampled to 8 kHz where needed: keys lie below 1.7 kHz, so a mean over the old samples is filter enough."""
    wanted_hz = _known_rate(rate_hz)
    if rate_hz == wanted_hz or not len(pcm):
        return pcm
    width = max(1, rate_hz // wanted_hz)
    smooth = np.convolve(pcm.astype(np.float64), np.full(width, 1 / width), mode="same")
    at = np.arange(int(len(pcm) * wanted_hz / rate_hz)) * (rate_hz / wanted_hz)
    resampled: NDArray[np.int16] = np.interp(at, np.arange(len(pcm)), smooth).astype(np.int16)
    return resampled
