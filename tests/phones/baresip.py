"""Drives baresip: a configuration directory of its own, commands over its control port."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

from tests.phones.rtp import before_others, free_port
from tests.phones.site import until

_CONFIG = """
module_path /usr/lib/baresip/modules
module {codec}.so
module aufile.so
module uuid.so
module srtp.so
module_tmp account.so
module_app menu.so
module ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
sip_listen 127.0.0.1:{sip}
sip_trans_bsize 128
call_max_calls 4
audio_player aufile,{folder}/heard.wav
audio_source aufile,{folder}/says.wav
audio_alert aufile,/dev/null
audio_level no
audio_channels 1-1
ausrc_srate {rate}
auplay_srate 8000
rtp_ports {rtp}-{rtp_end}
rtcp_mux no
jitter_buffer_delay 1-5
rtp_timeout 0
net_interface 127.0.0.1
"""


class Baresip:
    """One baresip process with one account: without a registrar, or as ``account`` says (baresip's own line)."""

    def __init__(
        self,
        says: np.ndarray,
        *,
        codec: str = "g711",
        rate_hz: int = 8000,
        options: str = "",
        account: str = "",
        sip_port: int = 0,
    ) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="baresip-")
        self.folder = Path(self._dir.name)
        self.sip_port, self.control_port = sip_port or free_port(), free_port()
        self.rtp_port = free_port(count=20)
        with wave.open(str(self.folder / "says.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate_hz)
            file.writeframes(says.astype("<i2").tobytes())
        (self.folder / "config").write_text(
            _CONFIG.format(
                codec=codec,
                rate=rate_hz,
                control=self.control_port,
                sip=self.sip_port,
                folder=self.folder,
                rtp=self.rtp_port,
                rtp_end=self.rtp_port + 18,
            )
        )
        (self.folder / "accounts").write_text(
            account + "\n"
            if account
            else f"<sip:phone@127.0.0.1:{self.sip_port}>;regint=0;answermode=auto{options}\n"
        )
        (self.folder / "contacts").write_text("")
        self._output = (self.folder / "output").open("wb")
        self.process = subprocess.Popen(
            ["baresip", "-4", "-f", str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        before_others(self.process.pid)
        self._control = until(self._connect, what="control port of baresip")

    def _connect(self) -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", self.control_port), 1.0)
        except OSError:
            return None

    def command(self, name: str, params: str = "") -> None:
        """Give a command, such as ``dial`` with a URI."""
        text = json.dumps({"command": name, "params": params})
        self._control.sendall(f"{len(text)}:{text},".encode())

    def press(self, keys: str, on_s: float = 0.12, off_s: float = 0.1) -> None:
        """Press keys on its keypad; they go as RFC 4733 events."""
        for key in keys:
            self.command("sndcode", key)
            time.sleep(on_s + off_s)

    def received(self) -> int:
        """How many RTP packets of its call it has taken so far; what cannot be decrypted does not count."""
        self.command("audio_debug")
        said = ""
        while not (found := re.search(r" rcvd=(\d+)", said)):
            said += self._control.recv(65536).decode("utf-8", "replace")
        return int(found[1])

    def output(self) -> str:
        """What it printed."""
        return (self.folder / "output").read_text("utf-8", "replace")

    def close(self) -> None:
        """End it."""
        self._control.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._output.close()
        self._dir.cleanup()
