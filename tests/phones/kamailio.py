"""Debian's Kamailio with paycall's configurations, in front of a ``Site``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from paycall import kamailio
from paycall.health import sip_answers
from paycall.settings import KamailioSettings, MediaSettings
from tests.phones.rtp import before_others, free_port
from tests.phones.site import PATIENCE_S, Site, until


class Kamailio:
    """One instance, ``carrier`` or ``operators``, for a site's cells."""

    def __init__(
        self,
        site: Site,
        instance: str = "carrier",
        *,
        port: int = 0,
        defines: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="kamailio-", dir="/tmp")
        self.folder = Path(self._dir.name)
        self.instance = instance
        self._defines = [word for define in defines for word in ("-A", define)]
        self.port = port or free_port(count=2)
        other = free_port(count=2)
        carrier = instance == "carrier"
        self.settings = KamailioSettings(
            folder=self.folder,
            carrier_port=self.port if carrier else other,
            operators_port=other if carrier else self.port,
            **settings,
        )
        self.media = MediaSettings(**site.settings)
        self.list_cells(kamailio.cells_of(self.media))
        self._log = (self.folder / "log").open("wb")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [*kamailio.command(self.folder, self.instance), *self._defines],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            process_group=0,
        )
        before_others(self.process.pid)
        try:
            until(lambda: sip_answers("127.0.0.1", self.port), what="Kamailio")
        except AssertionError:
            sys.stderr.write(self.log()[-4000:])
            self.close()
            raise

    def list_cells(self, cells: list[tuple[str, int]]) -> None:
        """Write the folder with these cells; ``command`` makes a running Kamailio read them."""
        kamailio.write_folder(self.settings, self.media, kamailio.cells_text(cells))

    @property
    def target(self) -> str:
        """Its address, as sipp takes it."""
        return f"127.0.0.1:{self.port}"

    def command(self, *words: str) -> str:
        """``kamcmd``: its answer."""
        program = kamailio.find_program("kamcmd")
        assert program is not None
        socket = f"unix:{self.folder}/{self.instance}.sock"
        done = subprocess.run(
            [program, "-s", socket, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        return done.stdout

    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """End it with all its workers."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(10.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it and forget its folder."""
        self.stop()
        self._log.close()
        self._dir.cleanup()
