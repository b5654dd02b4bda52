"""`paycall dtmf FILE…`: the keys in sound files, with their times, level and twist.

Reads WAV files (16-bit PCM, 8000 or 16000 Hz, any number of channels) and raw G.711 at 8000 Hz
(.al, .alaw, .ul, .ulaw). `--plot` draws a spectrogram with the keys, `--mask` writes the sound
without them. It prints keys because that is what it is asked for; nothing of it goes to a log.
"""

from __future__ import annotations

import argparse
import errno
import io
import itertools
import os
import secrets
import shutil
import sys
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dsp

Pcm = NDArray[np.int16]
_RAW = {".al": dsp.decode_alaw, ".alaw": dsp.decode_alaw, ".ul": dsp.decode_ulaw, ".ulaw": dsp.decode_ulaw}


class UnreadableSoundError(Exception):
    """The file is no sound that this command can read."""


@dataclass(frozen=True, slots=True)
class Sound:
    """``channels`` is int16, shape ``(channels, n)``."""

    channels: Pcm
    rate_hz: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments to its parser."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="WAV, or raw G.711 (.alaw, .ulaw)"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw a spectrogram with the keys")
    parser.add_argument("--mask", type=Path, metavar="OUT", help="write the sound without its keys, as WAV")


def run(args: argparse.Namespace) -> int:
    """Carry out the command; returns the exit status: 0, 1 if a file cannot be used, 2 for odd arguments."""
    outputs = [path for path in (args.mask, args.plot) if path]
    if len(args.files) > 1 and outputs:
        sys.stderr.write("paycall dtmf: --plot and --mask take one FILE\n")
        return 2
    if any(_same(one, other) for one, other in itertools.combinations([args.files[0], *outputs], 2)):
        sys.stderr.write("paycall dtmf: --plot and --mask must name files of their own\n")
        return 2
    status = 0
    for path in args.files:
        place = path
        try:
            sound = read(path)
            _print_keys(path, sound)
            if args.mask:
                place = args.mask
                write(place, masked(sound))
            if args.plot:
                place = args.plot
                _plot(place, sound)
        except (UnreadableSoundError, OSError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else problem
            sys.stderr.write(f"paycall dtmf: {place}: {reason}\n")
            status = 1
    return status


def _same(one: Path, other: Path) -> bool:
    """Whether both are one file, by whatever name or link; or will be, if there is none yet."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def read(path: Path) -> Sound:
    """Read a sound file.

    Raises
    ------
    UnreadableSoundError
        Another format than this command reads; the text says which it wants.
    OSError
        The file cannot be opened.
    """
    decode = _RAW.get(path.suffix.lower())
    if decode is not None:
        return Sound(decode(np.frombuffer(path.read_bytes(), dtype=np.uint8))[None], 8000)
    try:
        with wave.open(str(path), "rb") as source:
            if source.getsampwidth() != 2 or source.getframerate() not in (8000, 16000):
                raise UnreadableSoundError("it must have 16 bits a sample and 8000 or 16000 samples a second")
            count = source.getnchannels()
            data = source.readframes(source.getnframes())
            whole = len(data) // (2 * count) * 2 * count  # of a file that was cut short
            channels = np.frombuffer(data[:whole], dtype="<i2").reshape(-1, count).T
            return Sound(np.ascontiguousarray(channels, dtype=np.int16), source.getframerate())
    except (wave.Error, EOFError) as problem:
        raise UnreadableSoundError("it is not a WAV file of 16-bit PCM") from problem


def write(path: Path, sound: Sound) -> None:
    """Write a WAV file of 16-bit samples: the whole of it, or nothing.

    Raises
    ------
    OSError
        It cannot be written; what was there before still is.
    """
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setnchannels(sound.channels.shape[0])
        target.setsampwidth(2)
        target.setframerate(sound.rate_hz)
        target.writeframes(sound.channels.T.astype("<i2").tobytes())
    _save(path, content.getvalue())


def _save(path: Path, content: bytes) -> None:
    if path.exists() and not path.is_file():  # a device or a pipe
        path.write_bytes(content)
        return
    target = Path(os.path.realpath(path))  # a link stays one
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    neighbour = target.with_name(f".paycall-{secrets.token_hex(6)}")
    try:
        with neighbour.open("xb") as file:
            file.write(content)
        if target.exists():
            shutil.copymode(target, neighbour)
        neighbour.replace(target)
    finally:
        neighbour.unlink(missing_ok=True)


def masked(sound: Sound) -> Sound:
    """The same sound without its keys, in step with the original: the masker's delay is taken off."""
    quiet = []
    for channel in sound.channels:
        masker = dsp.ToneMasker(sound.rate_hz)
        late = np.concatenate([channel, np.zeros(masker.delay_samples, dtype=np.int16)])
        quiet.append(masker.process(late)[masker.delay_samples :])
    return Sound(np.stack(quiet), sound.rate_hz)


def _events(channel: Pcm, rate_hz: int) -> list[dsp.DtmfEvent]:
    detector = dsp.DtmfDetector(rate_hz)
    return detector.process(channel) + detector.flush()


def _print_keys(path: Path, sound: Sound) -> None:
    for number, channel in enumerate(sound.channels, 1):
        events = _events(channel, sound.rate_hz)
        where = f"{path}" if len(sound.channels) == 1 else f"{path}, channel {number}"
        keys = "".join(event.symbol for event in events)
        sys.stdout.write(f"{where}: {keys or 'no keys'}\n")
        for event in events:
            onset_s, end_s = event.onset_sample / sound.rate_hz, event.end_sample / sound.rate_hz
            sys.stdout.write(
                f"  {event.symbol}  {onset_s:9.3f} s … {end_s:9.3f} s  {1000 * (end_s - onset_s):5.0f} ms"
                f"  {event.level_dbm0:+6.1f} dBm0  twist {round(event.twist_db, 1) + 0.0:+5.1f} dB\n"
            )


def _plot(path: Path, sound: Sound) -> None:
    """Draw each channel's spectrogram with the keys above their tones."""
    try:
        import matplotlib
    except ImportError as missing:
        raise UnreadableSoundError("--plot needs matplotlib: pip install 'paycall[plot]'") from missing
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(sound.channels), 1, figsize=(12, 4 * len(sound.channels)), squeeze=False
    )
    for axis, channel in zip(axes[:, 0], sound.channels, strict=True):
        _draw(axis, channel, sound.rate_hz)
    figure.tight_layout()
    content = io.BytesIO()
    try:
        figure.savefig(content, dpi=110, format=path.suffix[1:] or "none")
    except ValueError as unknown:
        raise UnreadableSoundError("--plot takes a name that ends in .png, .svg or .pdf") from unknown
    finally:
        pyplot.close(figure)
    _save(path, content.getvalue())


def _draw(axis: Any, channel: Pcm, rate_hz: int) -> None:
    size, step = rate_hz // 40, rate_hz // 200  # 25 ms windows every 5 ms
    padded = np.pad(channel.astype(np.float64), (size // 2, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::step] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, 4 * size, axis=1)) ** 2
    level_db = 10.0 * np.log10(power.T + 1e4)
    seconds = frames.shape[0] * step / rate_hz
    extent = (0.0, seconds, 0.0, rate_hz / 2.0)
    top = float(level_db.max())
    axis.imshow(
        level_db, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - 70.0, vmax=top
    )
    axis.set(xlabel="s", ylabel="Hz", ylim=(0, 2000))
    for event in _events(channel, rate_hz):
        onset_s, end_s = event.onset_sample / rate_hz, event.end_sample / rate_hz
        axis.axvspan(onset_s, end_s, color="white", alpha=0.15)
        axis.text((onset_s + end_s) / 2.0, 1830, event.symbol, color="white", ha="center", weight="bold")
