"""What the panel costs and how fast a key becomes a dot: ``make bench-panel``.

The panel runs as its own process, as in production. 100 simulated cells dial its control address over the real
link and hold one capture each; 200 operators follow the event stream, each seeing only what is the operator's
own. Every caller keys two keys a second. Measured: from handing a key's progress to the cell's link to the event
at the operator's end, and the panel's processor time. The bench's own work shares the machine.
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

from paycall.control import messages as m
from paycall.control.link import ControlLink
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.logs import configure_logs
from paycall.panel.roles import Role
from paycall.panel.services.accounts import add_operator
from paycall.panel.services.sessions import COOKIE, open_session
from paycall.store.database import open_database, writing

ROOT = Path(__file__).parent.parent
OPERATORS, CAPTURES = 200, 100
SECONDS, KEYS_PER_S = 15.0, 2.0
PORT = 18_480
MARKER = "<!-- bench-panel -->"


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
            where = {"call_id": self.call_id, "payment_id": command.payment_id}
            self.link.send(m.CaptureStarted(**where))
            self.link.send(m.FieldStarted(**where, field=Field.CARD_NUMBER, seconds=20, attempts_left=3))
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


_BOOT, _NODE = new_id("boot"), new_id("node")


class Operator:
    """A signed-in operator who follows the events and, with a cell, takes a payment on its call."""

    def __init__(self, base_url: str, cookie: str, cell: Cell | None) -> None:
        self.client = httpx.AsyncClient(base_url=base_url, cookies={COOKIE: cookie}, timeout=30)
        self.cell = cell
        self.delays_ms: list[float] = []
        self.foreign = 0
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

    def _arrived(self, data: dict[str, object]) -> None:
        if self.cell is None or data["call_id"] != self.cell.call_id:
            self.foreign += 1
            return
        sent = self.cell.sent_at[int(str(data["digits"]))]
        self.delays_ms.append((time.perf_counter() - sent) * 1000)

    async def start_payment(self) -> None:
        assert self.cell is not None
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


def prepare(folder: Path) -> list[str]:
    """Settings and accounts; gives a cookie for each operator."""
    (folder / "paycall.toml").write_text(
        f'[site]\nvar = "{folder}/var"\nlog_level = "error"\n[panel]\nport = {PORT}\ntest_calls = false\n',
        "utf-8",
    )
    engine = open_database(f"sqlite:///{folder}/var/panel/panel.sqlite3")
    now, cookies = datetime.now(UTC), []
    for number in range(OPERATORS):
        with writing(engine) as session:
            operator_id, _ = add_operator(
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


async def measure(folder: Path, cookies: list[str], pid: int) -> dict[str, float]:
    """Connect everybody, key, and sum up."""
    base_url, address = f"http://127.0.0.1:{PORT}", f"unix:{folder}/var/run/control.sock"
    cells = [Cell(address, f"sip:{number}@desk") for number in range(CAPTURES)]
    pairs = [*cells, *[None] * (OPERATORS - CAPTURES)]
    operators = [Operator(base_url, cookie, cell) for cookie, cell in zip(cookies, pairs, strict=True)]
    tasks = [asyncio.create_task(cell.link.run()) for cell in cells]
    tasks += [asyncio.create_task(operator.follow()) for operator in operators]
    await asyncio.wait_for(asyncio.gather(*[operator.following.wait() for operator in operators]), 60)
    for cell in cells:
        cell.call_in()
    await asyncio.gather(*[operator.start_payment() for operator in operators if operator.cell is not None])
    await asyncio.sleep(1)

    before, begun = processor_s(pid), time.monotonic()
    await asyncio.gather(*[_keys(cell, number) for number, cell in enumerate(cells)])
    await asyncio.sleep(0.5)
    used = (processor_s(pid) - before) / (time.monotonic() - begun)
    delays = sorted(delay for operator in operators for delay in operator.delays_ms)
    sent = sum(cell.keys for cell in cells)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for operator in operators:
        await operator.client.aclose()
    return {
        "operators": OPERATORS,
        "captures": CAPTURES,
        "keys_sent": sent,
        "dots_seen": len(delays),
        "seen_by_others": sum(operator.foreign for operator in operators),
        "key_to_dot_p50_ms": round(delays[len(delays) // 2], 2),
        "key_to_dot_p99_ms": round(delays[int(len(delays) * 0.99)], 2),
        "panel_cores": round(used, 3),
    }


async def _keys(cell: Cell, number: int) -> None:
    await asyncio.sleep(number / CAPTURES / KEYS_PER_S)
    for _ in range(int(SECONDS * KEYS_PER_S)):
        cell.key()
        await asyncio.sleep(1 / KEYS_PER_S)


def report(figures: dict[str, float]) -> None:
    """Print the table, write the figures, refresh the page of benchmarks."""
    goals = {"key_to_dot_p99_ms": "≤ 150", "panel_cores": "≤ 1"}
    lines = ["| panel | measured | goal |", "| --- | --- | --- |"]
    lines += [f"| {name} | {value:g} | {goals.get(name, '')} |" for name, value in figures.items()]
    print("\n".join(lines))
    out = ROOT / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "panel.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    page = ROOT / "docs" / "benchmarks.md"
    text = page.read_text("utf-8") if page.exists() else "# Benchmarks\n"
    head, found, tail = text.partition(MARKER)
    rest = tail.partition(MARKER)[2] if found else "\n"
    page.write_text(f"{head.rstrip()}\n\n{MARKER}\n" + "\n".join(lines) + f"\n{MARKER}{rest}", "utf-8")


def main() -> int:
    """Run; 1 if a goal is missed."""
    configure_logs("error")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cookies = prepare(folder)
        command = [sys.executable, "-m", "paycall", "panel", "--config", str(folder / "paycall.toml")]
        panel = subprocess.Popen(command, cwd=folder)
        try:
            _await_panel()
            figures = asyncio.run(measure(folder, cookies, panel.pid))
        finally:
            panel.terminate()
            panel.wait(15)
    report(figures)
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
