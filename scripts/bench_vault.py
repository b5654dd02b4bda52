"""What the vault costs: ``make bench-vault``.

Cards are stored by eight callers at a time and then authorized at 50 a second, through the vault's real listeners, in
a process of its own, started and hardened as in production; the acquirer answers at once, so what is measured is
paycall's own share, HTTP and the measuring client included. On SQLite and on PostgreSQL (a private cluster).
Beside it the least that the work can take on this machine: AES-GCM for one card, and two commits' worth of writing
and fsync. Goal: p99 of an authorization's own share at most 20 ms.

Prints a table, refreshes its part of docs/benchmarks.md and writes build/bench/vault.json.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from bench_page import BenchPage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from paycall.domain.ids import new_id  # noqa: E402
from paycall.vault import crypto  # noqa: E402
from paycall.vault.hardening import ENVIRONMENT  # noqa: E402
from paycall.vault.keys import create_key_file  # noqa: E402
from tests.postgres import cluster  # noqa: E402

RATE_PER_S = 50
SECONDS = float(os.environ.get("BENCH_SECONDS", "18"))
CALLERS = 8
GOAL_MS = 20.0
CARDS = ("4242424242424242", "5555555555554444", "378282246310005")


async def serve(folder: Path, database_url: str) -> None:
    """The measured process: both doors, an acquirer that answers at once."""
    from pydantic import SecretStr

    from paycall.logs import configure_logs
    from paycall.private_socket import private_socket
    from paycall.process import serve_until_signal, web_server
    from paycall.settings import SiteSettings, VaultSettings
    from paycall.vault.app import create_apps
    from paycall.vault.hardening import harden
    from tests.fakes.fake_acquirer import FakeAcquirer

    configure_logs("info")
    harden()
    settings = VaultSettings(
        cell_address=f"unix:{folder}/c",
        panel_address=f"unix:{folder}/p",
        database_url=SecretStr(database_url),
        key_file=folder / "keys.json",
    )
    apps = create_apps(settings, SiteSettings(), adapters={"sandbox": FakeAcquirer()})
    await apps.start()
    try:
        await serve_until_signal(
            [
                (web_server(door.app, **door.options), private_socket(door.path))
                for door in apps.doors()
                if door.path
            ]
        )
    finally:
        await apps.stop()


@dataclass
class Times:
    """Milliseconds of each request."""

    store: list[float] = field(default_factory=list)
    authorize: list[float] = field(default_factory=list)
    failed: int = 0
    per_s: float = 0.0


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def drive(folder: Path, seconds: float) -> Times:
    """Cards first, eight callers at a time; then an authorization every 20 ms, whatever became of the one before."""
    times = Times()

    def client(name: str) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(folder / name), limits=httpx.Limits(max_connections=40))
        return httpx.AsyncClient(transport=transport, base_url="http://vault", timeout=30)

    async with client("c") as cell, client("p") as panel:
        await _up(cell)
        count = int(RATE_PER_S * seconds)
        numbers = iter([CARDS[n % len(CARDS)] for n in range(count)])
        waiting: list[tuple[str, str]] = []

        async def caller() -> None:
            for number in numbers:
                waiting.append(await _key(cell, number, times))

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        begun = time.perf_counter()
        tasks = []
        for index, card in enumerate(waiting):
            await asyncio.sleep(max(0.0, begun + index / RATE_PER_S - time.perf_counter()))
            tasks.append(asyncio.create_task(_charge(panel, card, times)))
        await asyncio.gather(*tasks)
        times.per_s = count / max(seconds, time.perf_counter() - begun)
    return times


async def _key(cell: httpx.AsyncClient, number: str, times: Times) -> tuple[str, str]:
    payment_id, token = new_id("pay"), ""
    code = "7391" if len(number) == 15 else "739"
    for name, value in (
        ("payment-card-number", number),
        ("expiration-date", "1231"),
        ("security-code", code),
    ):
        begun = time.perf_counter()
        answer = await cell.put(f"/v1/payments/{payment_id}/fields/{name}", json={"value": value})
        times.store.append((time.perf_counter() - begun) * 1000)
        token = answer.json()["token"]
    return payment_id, token


async def _charge(panel: httpx.AsyncClient, card: tuple[str, str], times: Times) -> None:
    body = {
        "attempt_id": new_id("att"),
        "payment_id": card[0],
        "token": card[1],
        "amount_minor": 4200,
        "currency": "EUR",
    }
    begun = time.perf_counter()
    answer = await panel.post("/v1/authorizations", json=body)
    times.authorize.append((time.perf_counter() - begun) * 1000)
    times.failed += answer.status_code != 200 or answer.json()["outcome"] != "approved"


async def _up(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await client.get("/health")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


def measure(database_url: str | None) -> Times:
    """One run against a fresh vault; SQLite if there is no URL."""
    with tempfile.TemporaryDirectory(prefix="paycall-bench-", dir=ROOT / "build") as name:
        folder = Path(name)
        create_key_file(folder / "keys.json")
        url = database_url or f"sqlite:///{folder}/vault.sqlite3"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, __file__, "--serve", str(folder), url],
                env=os.environ | ENVIRONMENT,
                stdout=log,
                stderr=log,
            )
            try:
                asyncio.run(drive(folder, 2))  # connections, caches
                return asyncio.run(drive(folder, SECONDS))
            finally:
                process.terminate()
                process.wait(30)


def limit_aes_gcm_us() -> float:
    """One card: a data key unwrapped, the seal and three fields opened."""
    key = os.urandom(32)
    sealed = crypto.encrypt(key, b"4242424242424242", b"context")
    begun = time.perf_counter()
    for _ in range(2000):
        for _ in range(5):
            crypto.decrypt(key, sealed, b"context")
    return (time.perf_counter() - begun) / 2000 * 1e6


def limit_fsync_ms() -> tuple[float, float]:
    """Median and p99 of two writes of 8 KiB, each with fsync: the attempt, and its answer."""
    values = []
    with tempfile.TemporaryFile(dir=ROOT / "build", buffering=0) as file:
        for _ in range(300):
            begun = time.perf_counter()
            for _ in range(2):
                file.write(bytes(8192))
                os.fsync(file.fileno())
            values.append((time.perf_counter() - begun) * 1000)
    return statistics.median(values), percentile(values, 0.99)


def main() -> int:
    """Measure, print, write."""
    page = BenchPage("vault", "Vault")
    (ROOT / "build").mkdir(exist_ok=True)
    sqlite = measure(None)
    with cluster() as postgres:
        postgresql = measure(postgres.create_database())
    fsync_p50, fsync_p99 = limit_fsync_ms()
    figures = {
        "rate_per_s": round(min(sqlite.per_s, postgresql.per_s), 1),
        "overhead_p50_ms_sqlite": round(percentile(sqlite.authorize, 0.5), 2),
        "overhead_p99_ms_sqlite": round(percentile(sqlite.authorize, 0.99), 2),
        "overhead_p50_ms_postgresql": round(percentile(postgresql.authorize, 0.5), 2),
        "overhead_p99_ms_postgresql": round(percentile(postgresql.authorize, 0.99), 2),
        "store_p50_ms_sqlite": round(percentile(sqlite.store, 0.5), 2),
        "store_p99_ms_sqlite": round(percentile(sqlite.store, 0.99), 2),
        "store_p50_ms_postgresql": round(percentile(postgresql.store, 0.5), 2),
        "store_p99_ms_postgresql": round(percentile(postgresql.store, 0.99), 2),
        "limit_aes_gcm_ms": round(limit_aes_gcm_us() / 1000, 4),
        "limit_two_fsyncs_p50_ms": round(fsync_p50, 2),
        "limit_two_fsyncs_p99_ms": round(fsync_p99, 2),
        "failed": sqlite.failed + postgresql.failed,
    }
    goals = dict.fromkeys(("overhead_p99_ms_sqlite", "overhead_p99_ms_postgresql"), f"≤ {GOAL_MS:g}")
    goals |= {"failed": "0", "rate_per_s": f"≥ {RATE_PER_S * 0.98:g}"}
    lines = ["| vault | measured | goal |", "| --- | --- | --- |"]
    lines += [f"| {name} | {value} | {goals.get(name, '')} |" for name, value in figures.items()]
    print(*lines, sep="\n")
    page.publish(lines, figures)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(Path(sys.argv[2]), sys.argv[3]))
        sys.exit(0)
    sys.exit(main())
