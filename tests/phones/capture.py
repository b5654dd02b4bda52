"""What really went over the wire: tshark on the loopback interface, and a search of the decoded sound."""

from __future__ import annotations

import ctypes
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.phones.rtp import Heard, decode

_DIGIT_BUFFER = 128


class Capture:
    """tshark on ``lo``, for the UDP ports that are named."""

    def __init__(self, *ports: int) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="capture-")
        Path(self._dir.name).chmod(0o777)  # tshark gives its rights away before it writes
        self.file = Path(self._dir.name) / "lo.pcap"
        wanted = " or ".join(f"udp port {port}" for port in ports)
        command = ["tshark", "-i", "lo", "-f", wanted, "-w", str(self.file), "-F", "pcap", "-q"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "Capturing on" in line or "Capture started" in line:
                break
        time.sleep(0.3)

    def stop(self) -> None:
        """End the capture; ``packets`` then has it all."""
        if self._process.poll() is None:
            time.sleep(0.3)
            self._process.send_signal(signal.SIGINT)
            self._process.wait(10)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def close(self) -> None:
        """End it and forget the file."""
        self.stop()
        self._dir.cleanup()

    def packets(self, to_port: int) -> list[tuple[float, bytes]]:
        """Moment (Unix time) and UDP payload of everything that was sent to a port."""
        data = self.file.read_bytes()
        order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
        fraction = 1e-9 if data[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e-6
        found, at = [], 24
        while at + 16 <= len(data):
            seconds, part, length, _ = struct.unpack(order + "IIII", data[at : at + 16])
            frame = data[at + 16 : at + 16 + length]
            at += 16 + length
            ip = frame[14:]
            header = (ip[0] & 0x0F) * 4
            if ip[9] == 17 and struct.unpack("!H", ip[header + 2 : header + 4])[0] == to_port:
                found.append((seconds + part * fraction, ip[header + 8 :]))
        return found

    def heard(self, to_port: int) -> Heard:
        """The RTP that went to a port, decoded."""
        return decode(self.packets(to_port))


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
