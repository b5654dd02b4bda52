"""What the panel costs and how fast a key becomes a dot: ``make bench-panel``.

The panel runs as its own process, as in production, and a media node as its own. Five callers call by SIP and key
by tones in RTP; 95 simulated cells dial the control address over the real link and hold one capture each. 200
operators follow the event stream, each seeing only what is the operator's own. Every caller keys two keys a second.
Measured: from the packet that ends a key's tone (of a simulated cell: from handing the key's progress to the link) to
the event at the operator's end, and the panel's processor time. Node and bench share the machine.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
from bench_page import BenchPage

import dsp
from paycall.control import messages as m
from paycall.control.link import ControlLink
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.logs import configure_logs
from paycall.panel.roles import Role
from paycall.panel.services.accounts import add_operator
from paycall.panel.services.sessions import COOKIE, open_session
from paycall.store.database import open_database, writing

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.phones.load import LoadPhones, packets_of  # noqa: E402

OPERATORS, CAPTURES, REAL = 200, 100, 5
SECONDS, KEYS_PER_S = 15.0, 2.0
PORT, SIP_PORT, RTP_PORT = 18_480, 18_500, 22_000
KEYS = "424242424242424*"  # never a whole number: the star clears it
TONE_PACKETS, KEY_PACKETS = 5, 25  # of 20 ms


class Cell:
    """A simulated cell with one call: obeys commands, reports keys by their count."""

    def __init__(self, address: str, agent_uri: str) -> None:
        self.cell_id, self.call_id = new_id("cell"), new_id("call")
        self.agent_uri = agent_uri
        self.payment_id: str | None = None
        self.capturing = asyncio.Event()
        self.sent_at: dict[int, float] = {}
        self.keys = 0
        self.link = ControlLink(address, self._hello, self._obey)

    def _hello(self) -> m.Hello:
        return m.Hello(
            sender_id=self.cell_id, boot_id=_BOOT, kind="cell", node_id=_NODE, version="bench", capacity=1
        )

    async def _obey(self, command: m.AnyCommand) -> None:
        if isinstance(command, m.StartCapture):
            self.payment_id = command.payment_id
            call, payment = self.call_id, command.payment_id
            self.link.send(m.CaptureStarted(call_id=call, payment_id=payment))
            self.link.send(
                m.FieldStarted(
                    call_id=call, payment_id=payment, field=Field.CARD_NUMBER, seconds=20, attempts_left=3
                )
            )
            self.capturing.set()

    def call_in(self) -> None:
        self.link.send(
            m.CallArrived(
                call_id=self.call_id,
                caller="+36",
                called="1",
                agent_uri=self.agent_uri,
                started_at=time.time(),
            )
        )
        self.link.send(m.CallConnected(call_id=self.call_id, agent_uri=self.agent_uri))

    def key(self) -> None:
        assert self.payment_id is not None
        self.keys += 1
        # The count stands for the key: 1 to 16 and again, so that every event can be told from the one before.
        digits = (self.keys - 1) % 16 + 1
        self.sent_at[digits] = time.perf_counter()
        self.link.send(
            m.FieldProgress(
                call_id=self.call_id,
                payment_id=self.payment_id,
                field=Field.CARD_NUMBER,
                digits=digits,
                seconds=5,
            )
        )


class RealCall:
    """A caller who calls by SIP and keys by tones."""

    def __init__(self, phones: LoadPhones, index: int) -> None:
        self.call_id = ""
        self.capturing = asyncio.Event()
        self.sent_at: dict[int, float] = {}
        self.keys = 0
        self.index = index
        self._phones, self._leg = phones, phones.callers[index]

    def call_in(self) -> None:
        self._phones.invite(self.index, ("127.0.0.1", SIP_PORT + self.index // 2))

    def begin(self) -> None:
        silence = np.zeros(KEY_PACKETS * 160, dtype=np.int16)
        sound = []
        for key in KEYS:
            tone = dsp.dtmf_tone(key, TONE_PACKETS / 50, -10.0)
            sound.append(np.concatenate([tone, silence[tone.size :]]))
        self._phones.play(self._leg, packets_of(np.concatenate(sound)))

    def end(self) -> None:
        self._phones.silence(self._leg)

    def look(self) -> None:
        """Note when the last packet of a tone was sent."""
        sent = self._phones.position(self._leg)
        while sent >= self.keys * KEY_PACKETS + TONE_PACKETS:
            self.sent_at[self.keys % len(KEYS) + 1] = time.perf_counter()
            self.keys += 1


_BOOT, _NODE = new_id("boot"), new_id("node")


class Operator:
    """A signed-in operator who follows the events and, with a cell, takes a payment on its call."""

    def __init__(self, base_url: str, cookie: str, cell: Cell | RealCall | None) -> None:
        self.client = httpx.AsyncClient(base_url=base_url, cookies={COOKIE: cookie}, timeout=30)
        self.cell = cell
        self.delays_ms: list[float] = []
        self.foreign = 0
        self.unmatched = 0
        self.following = asyncio.Event()

    async def follow(self) -> None:
        async with self.client.stream("GET", "/api/v1/events", timeout=None) as stream:
            name = ""
            async for line in stream.aiter_lines():
                self.following.set()
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: ") and name == "capture.progress":
                    self._arrived(json.loads(line[6:]))
                elif line.startswith("data: ") and name == "capture.field" and self.cell is not None:
                    self.cell.capturing.set()

    def _arrived(self, data: dict[str, object]) -> None:
        if self.cell is None or data["call_id"] != self.cell.call_id:
            self.foreign += 1
            return
        if not data["digits"]:  # cleared by the star
            return
        # A tone that was torn or not heard shifts the counts until the star: those dots belong to no key.
        sent = self.cell.sent_at.pop(int(str(data["digits"])), None)
        if sent is None:
            self.unmatched += 1
            return
        self.delays_ms.append((time.perf_counter() - sent) * 1000)

    async def find_call(self) -> None:
        """Which of the calls that nobody has taken is this one's: by its caller."""
        assert isinstance(self.cell, RealCall)
        while not self.cell.call_id:
            calls = (await self.client.get("/api/v1/calls")).json()["calls"]
            mine = [c for c in calls if c["caller"] == f"c{self.cell.index}" and c["state"] == "connected"]
            self.cell.call_id = mine[0]["id"] if mine else ""
            await asyncio.sleep(0.1)

    async def start_payment(self) -> None:
        assert self.cell is not None
        if isinstance(self.cell, RealCall):
            await asyncio.wait_for(self.find_call(), 30)
        for _ in range(100):
            answer = await self.client.post(
                f"/api/v1/calls/{self.cell.call_id}/payments",
                json={"amount_minor": 1999, "currency": "EUR"},
                headers={"idempotency-key": self.cell.call_id},
            )
            if answer.status_code in (200, 201):
                break
            await asyncio.sleep(0.2)  # its call has not been told of yet
        await asyncio.wait_for(self.cell.capturing.wait(), 30)


def prepare(folder: Path, agent_uri: str) -> list[str]:
    """Settings and accounts; gives a cookie for each operator."""
    (folder / "paycall.toml").write_text(
        f'[site]\nvar = "{folder}/var"\nlog_level = "error"\n[panel]\nport = {PORT}\ntest_calls = false\n'
        f"[media]\ncells = {(REAL + 1) // 2}\nfirst_sip_port = {SIP_PORT}\nfirst_rtp_port = {RTP_PORT}\n"
        f'agent_uri = "{agent_uri}"\n',
        "utf-8",
    )
    engine = open_database(f"sqlite:///{folder}/var/panel/panel.sqlite3")
    now, cookies = datetime.now(UTC), []
    for number in range(OPERATORS):
        with writing(engine) as session:
            operator_id = add_operator(
                session,
                f"operator{number}",
                Role.OPERATOR,
                now,
                agent_uri=f"sip:{number}@desk",
                must_change_password=False,
            )
            cookies.append(open_session(session, operator_id, now))
    engine.dispose()
    return cookies


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    parts = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / 100


async def measure(folder: Path, phones: LoadPhones, cookies: list[str], pid: int) -> dict[str, float]:
    """Connect everybody, key, and sum up."""
    base_url, address = f"http://127.0.0.1:{PORT}", f"unix:{folder}/var/run/control.sock"
    cells = [Cell(address, f"sip:{number}@desk") for number in range(CAPTURES - REAL)]
    reals = [RealCall(phones, index) for index in range(REAL)]
    pairs = [*cells, *reals, *[None] * (OPERATORS - CAPTURES)]
    operators = [Operator(base_url, cookie, cell) for cookie, cell in zip(cookies, pairs, strict=True)]
    tasks = [asyncio.create_task(cell.link.run()) for cell in cells]
    tasks += [asyncio.create_task(operator.follow()) for operator in operators]
    await asyncio.wait_for(asyncio.gather(*[operator.following.wait() for operator in operators]), 60)
    for cell in cells:
        cell.call_in()
    for call in reals:
        call.call_in()
    await asyncio.gather(*[operator.start_payment() for operator in operators if operator.cell is not None])
    await asyncio.sleep(1)

    before, begun = processor_s(pid), time.monotonic()
    await asyncio.gather(*[_keys(cell, number) for number, cell in enumerate(cells)], _real_keys(reals))
    await asyncio.sleep(0.5)
    used = (processor_s(pid) - before) / (time.monotonic() - begun)
    delays = sorted(delay for operator in operators for delay in operator.delays_ms)
    real = sorted(d for o in operators if isinstance(o.cell, RealCall) for d in o.delays_ms)
    sent = sum(cell.keys for cell in cells)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for operator in operators:
        await operator.client.aclose()
    return {
        "operators": OPERATORS,
        "captures": CAPTURES,
        "captures_with_real_media": REAL,
        "keys_sent": sent,
        "dots_seen": len(delays) - len(real),
        "seen_by_others": sum(operator.foreign for operator in operators),
        "key_to_dot_p50_ms": round(delays[len(delays) // 2], 2),
        "key_to_dot_p99_ms": round(delays[int(len(delays) * 0.99)], 2),
        # A star is a key without a dot.
        "real_media_keys_sent": sum(call.keys - call.keys // len(KEYS) for call in reals),
        "real_media_dots_seen": len(real),
        "real_media_dots_unmatched": sum(operator.unmatched for operator in operators),
        "real_media_key_to_dot_p50_ms": round(real[len(real) // 2], 2),
        "real_media_key_to_dot_p99_ms": round(real[int(len(real) * 0.99)], 2),
        "panel_cores": round(used, 3),
    }


async def _keys(cell: Cell, number: int) -> None:
    await asyncio.sleep(number / CAPTURES / KEYS_PER_S)
    for _ in range(int(SECONDS * KEYS_PER_S)):
        cell.key()
        await asyncio.sleep(1 / KEYS_PER_S)


async def _real_keys(calls: list[RealCall]) -> None:
    """Key for as long as the others, and look at the wire every two milliseconds."""
    for call in calls:
        call.begin()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or any(call.keys % len(KEYS) in (0, len(KEYS) - 1) for call in calls):
        for call in calls:
            call.look()
        await asyncio.sleep(0.002)
    for call in calls:
        call.look()
        call.end()


def report(page: BenchPage, figures: dict[str, float]) -> None:
    """Print the table, write the figures, refresh the page of benchmarks."""
    goals = {"key_to_dot_p99_ms": "≤ 150", "panel_cores": "≤ 1"}
    lines = ["| panel | measured | goal |", "| --- | --- | --- |"]
    lines += [f"| {name} | {value:g} | {goals.get(name, '')} |" for name, value in figures.items()]
    print(*lines, sep="\n")
    page.publish(lines, figures)


def main() -> int:
    """Run; 1 if a goal is missed."""
    configure_logs("error")
    page = BenchPage("panel", "Panel")
    with tempfile.TemporaryDirectory() as name:
        folder, phones = Path(name), LoadPhones(REAL)
        cookies = prepare(folder, phones.agent_uri)
        command = [sys.executable, "-m", "paycall", "{}", "--config", str(folder / "paycall.toml")]
        started: list[subprocess.Popen[bytes]] = []
        try:
            for process in ("panel", "media"):
                started.append(subprocess.Popen([part.format(process) for part in command], cwd=folder))
            _await_panel()
            figures = asyncio.run(measure(folder, phones, cookies, started[0].pid))
        finally:
            for each in reversed(started):
                each.terminate()
                each.wait(15)
            phones.close()
    report(page, figures)
    good = figures["key_to_dot_p99_ms"] <= 150 and figures["panel_cores"] <= 1
    return 0 if good and figures["dots_seen"] == figures["keys_sent"] and not figures["seen_by_others"] else 1


def _await_panel() -> None:
    for _ in range(200):
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/health", timeout=1).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise SystemExit("the panel did not start")


if __name__ == "__main__":
    raise SystemExit(main())
