"""A media node: pre-forks cells, replaces the dead, releases their phones, tells the panel.

Rules: a dead cell's phones get their BYE within ten seconds, its place is filled within a second. A cell that
gives no sign of life for ``HUNG_S`` is killed and treated as dead. The phones of a node that is killed itself get
theirs from the guardian. The node holds no card data.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: every cell is forked from this process

import asyncio
import contextlib
import hashlib
import json
import signal
import socket
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import structlog

from paycall import startup
from paycall.control.link import ControlLink
from paycall.control.messages import AnyCommand, CellLost, CellStarted, Event, Hello
from paycall.domain.errors import NotFoundError
from paycall.domain.ids import new_id
from paycall.media import pipes
from paycall.media.counts import Counts
from paycall.media.dialogs import Dialog
from paycall.media.guardian import start_guardian, take_journal, tell
from paycall.media.line_recording import open_recorder
from paycall.media.prompts import PromptLibrary
from paycall.media.release import release_dialogs, release_late
from paycall.media.status import CellStatus, NodeStatus, serve_status
from paycall.media.trunk import trunk_of
from paycall.media.zygote import request, start_zygote
from paycall.settings import MediaSettings, SiteSettings
from paycall.tls import cell_tls

log = structlog.get_logger(__name__)

HUNG_S = 5.0
STOP_S = 4.0
START_LIMIT_S = 10.0
_CHECK_S = 0.5
_RESPAWN_PAUSE_S = (0.0, 0.2, 1.0, 5.0)  # the more often it died in the last minute, the longer


@dataclass
class _Slot:
    """One cell's place."""

    index: int
    cell_id: str
    pid: int = 0
    pipe: socket.socket | None = None
    report: pipes.CellReport = field(default_factory=pipes.CellReport)
    alive_at: float = 0.0
    announced: bool = False
    deaths: list[float] = field(default_factory=list)
    restarts: int = 0

    @property
    def state(self) -> str:
        """The cell's state in a word."""
        if not self.pid:
            return "gone"
        if not self.report.ready:
            return "starting"
        return "draining" if self.report.draining else "ready"


class Node:
    """All cells of one machine."""

    def __init__(self, settings: MediaSettings, zygote: socket.socket, guardian: socket.socket) -> None:
        self._settings = settings
        self._zygote = zygote
        self._guardian = guardian
        self._node_id = _stable_id("node", settings.address, settings.first_sip_port)
        self._slots = [
            _Slot(index, _stable_id("cell", settings.address, settings.first_sip_port + index))
            for index in range(settings.cells)
        ]
        self._boot_id = new_id("boot")
        self._link = ControlLink(settings.control_address, self._hello, self._on_command, cell_tls(settings))
        self._stopping = asyncio.Event()
        self._draining = False
        # not before: the cells' parent has been forked by now, and needs no Prometheus
        from paycall.media.metrics import NodeMetrics

        self.metrics = NodeMetrics(self.status, settings.calls_per_cell)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; after SIGUSR1, until the last call has ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGUSR1, self._drain)
        loop.add_reader(self._zygote.fileno(), self._zygote_spoke)
        loop.add_reader(self._guardian.fileno(), self._guardian_lost)
        # first: another node may be there
        status = await serve_status(self._settings.status_socket, self.status)
        linking = loop.create_task(self._link.run())
        left = take_journal(_journal(self._settings))
        for slot in self._slots:
            self._begin(self._fill(slot, left.get(self._settings.first_sip_port + slot.index, [])))
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _CHECK_S)
            self._kill_hung()
            self._retire()
        await self._stop_cells()
        status.close()
        linking.cancel()
        for task in (linking, *self._tasks):
            task.cancel()
        await asyncio.gather(linking, *self._tasks, return_exceptions=True)
        loop.remove_reader(self._zygote.fileno())
        loop.remove_reader(self._guardian.fileno())
        return 0

    # ---- cells -------------------------------------------------------------------------------------------

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _spawn(self, slot: _Slot) -> None:
        ours, theirs = pipes.pair()
        slot.pipe, slot.report, slot.announced = ours, pipes.CellReport(), False
        slot.alive_at = time.monotonic() + START_LIMIT_S
        socket.send_fds(self._zygote, [request(slot.index, slot.cell_id, self._node_id)], [theirs.fileno()])
        theirs.close()
        asyncio.get_running_loop().add_reader(ours.fileno(), self._cell_spoke, slot)

    def _cell_spoke(self, slot: _Slot) -> None:
        while slot.pipe is not None:
            try:
                packet = slot.pipe.recv(pipes.MAX_PACKET)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                asyncio.get_running_loop().remove_reader(slot.pipe.fileno())
                return  # the zygote tells of its end
            slot.report = pipes.CellReport.decode(packet)
            self._tell_guardian(slot)
            slot.alive_at = max(slot.alive_at, time.monotonic())
            self.metrics.heard(slot.cell_id, slot.report.counts, slot.report.pss_mb)
            if not slot.announced:
                slot.announced = True
                slot.alive_at = time.monotonic()
                self._link.send(CellStarted(cell_id=slot.cell_id, sip_uri=self._sip_uri(slot)))

    def _tell_guardian(self, slot: _Slot) -> None:
        dialogs = [dialog for legs in slot.report.dialogs.values() for dialog in legs]
        tell(self._guardian, self._settings.first_sip_port + slot.index, dialogs)

    def _guardian_lost(self) -> None:
        """It never speaks. Calls go on; what it would do is not done until the node is started again."""
        asyncio.get_running_loop().remove_reader(self._guardian.fileno())
        log.error("guardian_lost", alarm=True)

    def _drain(self) -> None:
        """Take no new call; end with the last one. For a rolling restart."""
        self._draining = True
        for slot in self._slots:
            if slot.pipe is not None:
                pipes.send(slot.pipe, pipes.DRAIN)

    def _retire(self) -> None:
        """Replace an idle cell that has served its time: what PJSIP leaks goes with it."""
        for slot in self._slots:
            used_up = (
                slot.report.served >= self._settings.retire_after_calls
                or slot.report.rss_mb > self._settings.retire_above_mb
            )
            if used_up and not slot.report.dialogs and not slot.report.draining and slot.pipe is not None:
                pipes.send(slot.pipe, pipes.DRAIN)

    def tell_panel(self, event: Event) -> None:
        """Send an event of the node's own."""
        self._link.send(event)

    def status(self) -> NodeStatus:
        """The node's state, for people."""
        cells = tuple(
            CellStatus(
                cell_id=slot.cell_id,
                sip_port=self._settings.first_sip_port + slot.index,
                pid=slot.pid,
                state=slot.state,
                calls=len(slot.report.dialogs),
                served=slot.report.served,
                rss_mb=slot.report.rss_mb,
                restarts=slot.restarts,
            )
            for slot in self._slots
        )
        return NodeStatus(
            self._node_id,
            self._draining,
            self._link.connected,
            cells,
            self._settings.address,
            self._slots[0].report.trunk,
        )

    def _zygote_spoke(self) -> None:
        try:
            packet = self._zygote.recv(pipes.MAX_PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            asyncio.get_running_loop().remove_reader(self._zygote.fileno())
            if not self._stopping.is_set():
                log.error("zygote_lost")
            self._stopping.set()
            for slot in self._slots:
                slot.pid = 0  # the kernel ends the cells with the zygote
            return
        said = json.loads(packet)
        slot = self._slots[said["index"]]
        if "code" not in said:
            slot.pid = said["pid"]
        elif self._draining and said["code"] == 0:
            self._forget(slot)
            if not any(each.pid for each in self._slots):
                self._stopping.set()
        elif not self._stopping.is_set():
            self._begin(self._replace(slot, said["code"]))
        else:
            self._cell_spoke(slot)  # its last words: which phones have answered
            slot.pid = 0

    async def _replace(self, slot: _Slot, code: int) -> None:
        """The cell has ended: release its phones, tell the panel, fill its place."""
        if slot.pipe is not None:
            self._cell_spoke(slot)  # its last words
        calls = slot.report.dialogs
        self._forget(slot)
        self.metrics.cell_ended(slot.cell_id, "lost" if code != 0 or calls else "retired")
        if code != 0 or calls:
            log.error("cell_lost", cell_id=slot.cell_id, code=code, count=len(calls))
            self._link.send(CellLost(cell_id=slot.cell_id, call_ids=tuple(calls)))
        now = time.monotonic()
        slot.deaths = [at for at in slot.deaths if at > now - 60.0] + ([now] if code else [])
        slot.restarts += 1
        pause_s = _RESPAWN_PAUSE_S[min(len(slot.deaths) // 3, len(_RESPAWN_PAUSE_S) - 1)]
        await self._fill(slot, [dialog for legs in calls.values() for dialog in legs], pause_s)

    async def _fill(self, slot: _Slot, left: list[Dialog], pause_s: float = 0.0) -> None:
        """Release what the place's former cell has left behind, and start a cell there."""
        port = self._settings.first_sip_port + slot.index
        unanswered = await self._release(left, port)
        tell(self._guardian, port, [])
        await asyncio.sleep(pause_s)
        if not self._stopping.is_set() and not self._draining:
            self._spawn(slot)
        if unanswered:
            await release_late(left, unanswered, self._settings.address, port)

    async def _release(self, dialogs: list[Dialog], port: int) -> set[str]:
        if not dialogs:
            return set()
        try:
            return await release_dialogs(dialogs, self._settings.address, port)
        except OSError as error:
            log.error("phones_not_released", error=type(error).__name__, port=port)
            return {each.call_id for each in dialogs}

    def _forget(self, slot: _Slot) -> None:
        slot.pid = 0
        if slot.pipe is not None:
            asyncio.get_running_loop().remove_reader(slot.pipe.fileno())
            slot.pipe.close()
            slot.pipe = None

    def _kill_hung(self) -> None:
        for slot in self._slots:
            if slot.pid and time.monotonic() - slot.alive_at > HUNG_S:
                log.error("cell_hung", cell_id=slot.cell_id, pid=slot.pid)
                slot.alive_at = time.monotonic()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.pid, signal.SIGKILL)

    async def _stop_cells(self) -> None:
        for slot in self._slots:
            if slot.pipe is not None:
                pipes.send(slot.pipe, pipes.STOP)
        give_up_at = time.monotonic() + STOP_S
        while any(slot.pid for slot in self._slots) and time.monotonic() < give_up_at:
            await asyncio.sleep(0.05)
        for slot in self._slots:
            if slot.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.pid, signal.SIGKILL)

    # ---- the panel ---------------------------------------------------------------------------------------

    def _sip_uri(self, slot: _Slot) -> str:
        return f"sip:{self._settings.address}:{self._settings.first_sip_port + slot.index}"

    def _hello(self) -> Hello:
        return Hello(
            sender_id=self._node_id,
            boot_id=self._boot_id,
            kind="node",
            node_id=self._node_id,
            version=version("paycall"),
            capacity=self._settings.cells * self._settings.calls_per_cell,
        )

    async def _on_command(self, command: AnyCommand) -> None:  # noqa: ARG002
        raise NotFoundError("a node holds no calls")


def _stable_id(prefix: str, address: str, port: int) -> str:
    """The same identifier for the same place, so that the panel knows a restarted cell or node again."""
    number = int.from_bytes(hashlib.sha256(f"{prefix} {address}:{port}".encode()).digest(), "big")
    letters = []
    for _ in range(22):
        number, rest = divmod(number, 26)
        letters.append(chr(ord("a") + rest))
    return f"{prefix}_{''.join(letters)}"


def _journal(settings: MediaSettings) -> Path:
    """Where the guardian writes down which phones are in a call."""
    return settings.status_socket.with_suffix(".dialogs")


def run_node(settings: MediaSettings, site: SiteSettings) -> int:  # noqa: ARG001
    """Run a node until SIGTERM or SIGINT; gives the process's exit code.

    Raises
    ------
    SettingsError
        If a file that calls need is not as it must be.
    """
    trunk_of(settings, 0)
    if settings.prompts.heard_by != "nobody":
        PromptLibrary(settings.prompts.folder).check()
    open_recorder(settings.recording, Counts())  # before the fork: cells then share what it imports
    guardian = start_guardian(settings.address, _journal(settings))
    zygote, zygote_pid = start_zygote(settings)
    try:
        return asyncio.run(_run(settings, zygote, guardian))
    finally:
        zygote.close()
        os.waitpid(zygote_pid, 0)


async def _run(settings: MediaSettings, zygote: socket.socket, guardian: socket.socket) -> int:
    from paycall.metrics import new_registry, serving_metrics

    startup.done()
    node = Node(settings, zygote, guardian)
    registry = new_registry()
    registry.register(node.metrics)
    deleting = asyncio.create_task(_delete_old_recordings(settings, node))
    with serving_metrics("media", settings.metrics_port, settings.metrics_address, registry):
        try:
            return await node.run()
        finally:
            deleting.cancel()


async def _delete_old_recordings(settings: MediaSettings, node: Node) -> None:
    if settings.recording.enabled:
        from paycall.media.retention import delete_old_recordings

        await delete_old_recordings(settings.recording, node.tell_panel)
