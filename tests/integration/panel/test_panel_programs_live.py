"""Programs against a panel behind a real web server: the example client, and webhooks to a receiver that listens."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from paycall.certs_command import issue
from paycall.panel.roles import Role
from paycall.panel.services import accounts
from tests.fakes.panel_server import PanelServer
from tests.fakes.panel_world import APPROVED, DECLINED, PASSWORD
from tests.fakes.webhook_receiver import Receiver
from tests.phones.site import until

accounts._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
EXAMPLE = Path(__file__).parents[3] / "examples" / "paycall_client.py"


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paycall_client", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = _example()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PanelServer]:
    with PanelServer(tmp_path) as running:
        running.world.add("boss", Role.ADMINISTRATOR)
        yield running


@pytest.fixture
def boss(server: PanelServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=40) as client:
        assert client.post("/session", json={"name": "boss", "password": PASSWORD}).status_code == 200
        yield client


def _subscribe(boss: httpx.Client, url: str, *events: str) -> dict[str, Any]:
    answer = boss.post("/webhook-subscriptions", json={"url": url, "events": events})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(("number", "state", "status"), [(APPROVED, "settled", 0), (DECLINED, "declined", 1)])
def test_the_example_takes_a_payment(
    server: PanelServer, boss: httpx.Client, tmp_path: Path, number: str, state: str, status: int
) -> None:
    key = boss.post("/api-keys", json={"name": "shop", "scopes": ["calls:read", "payments:write"]}).json()[
        "key"
    ]
    (tmp_path / "key").write_text(key)
    call_id = server.do(server.world.cell.call_in())
    command = [sys.executable, str(EXAMPLE), "--url", server.url, "--key-file", str(tmp_path / "key")]
    with subprocess.Popen(
        [*command, "--amount-minor", "1999", "--reference", "INV-9"], stdout=subprocess.PIPE, text=True
    ) as program:
        call = server.world.cell.calls[call_id]
        until(lambda: call.capture is not None and call.capture.collecting is not None, what="capture")
        server.do(server.world.cell.key(call_id, number, "1230", "123"))
        said, _ = program.communicate(timeout=90)
    assert program.returncode == status, said
    assert said.splitlines()[-1].startswith(state)
    payment = boss.get("/payments").json()["payments"][0]
    assert (payment["reference"], payment["state"], len(payment["attempts"])) == ("INV-9", state, 1)


def test_an_event_is_signed_tried_again_after_a_restart_and_taken_once(
    server: PanelServer, boss: httpx.Client, receiver: Receiver
) -> None:
    made = _subscribe(boss, receiver.url, "call.*")

    def log() -> list[tuple[str, int, int | None]]:
        deliveries = boss.get(f"/webhook-subscriptions/{made['webhook']['id']}/deliveries").json()[
            "deliveries"
        ]
        return sorted((item["state"], item["tries"], item["status"]) for item in deliveries)

    receiver.answers = [500, 302]
    server.do(server.world.cell.call_in(caller="+36301234567"))  # arrived and connected, neither is taken
    until(lambda: log() == [("pending", 1, 302), ("pending", 1, 500)], what="first tries")
    server.restart()
    server.world.clock.advance(seconds=40)
    until(lambda: log() == [("delivered", 2, 204)] * 2, what="second tries")
    names = []
    now_s = server.world.clock.now().timestamp()
    for headers, body in receiver.got:
        event = example.verify_webhook(made["secret"], headers, body, now_s=now_s)
        names.append(event["type"])
        assert event["data"]["caller"] == "+36301234567"
        with pytest.raises(ValueError, match="signature"):
            example.verify_webhook(made["secret"], headers, body + b" ", now_s=now_s)
    assert names == ["call.arrived", "call.connected"] * 2
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert ids[:2] == ids[2:] and len(set(ids)) == 2
    with pytest.raises(ValueError, match="timestamp"):
        example.verify_webhook(made["secret"], *receiver.got[0], now_s=now_s + 3600)


def test_the_test_button_and_an_end_that_wants_no_more(
    server: PanelServer, boss: httpx.Client, receiver: Receiver
) -> None:
    made = _subscribe(boss, receiver.url, "payment.*")
    path = f"/webhook-subscriptions/{made['webhook']['id']}"
    assert boss.post(f"{path}/test").status_code == 202
    until(lambda: receiver.got, what="test event")
    assert example.verify_webhook(made["secret"], *receiver.got[0])["type"] == "webhook.test"
    receiver.answers = [410]
    boss.post(f"{path}/test")
    until(lambda: not boss.get("/webhook-subscriptions").json()["webhooks"][0]["enabled"], what="the end")
    assert boss.patch(path, json={"enabled": True}).json()["enabled"]
    assert boss.delete(path).status_code == 204
    assert boss.get(f"{path}/deliveries").status_code == 404


def test_a_receiver_that_is_away_for_three_days_is_left_alone(
    server: PanelServer, boss: httpx.Client
) -> None:
    gone = Receiver()
    gone.close()
    made = _subscribe(boss, gone.url, "payment.*")
    path = f"/webhook-subscriptions/{made['webhook']['id']}"
    boss.post(f"{path}/test")

    def newest() -> dict[str, Any]:
        return dict(boss.get(f"{path}/deliveries").json()["deliveries"][0])

    def tried(times: int) -> Callable[[], bool]:
        return lambda: newest()["tries"] == times

    for times in range(1, 5):
        until(tried(times), what="try")
        assert newest()["error"] == "connection"
        server.world.clock.advance(days=1, minutes=1)
        boss.post("/session", json={"name": "boss", "password": PASSWORD})  # who was idle signs in again
    until(lambda: not boss.get("/webhook-subscriptions").json()["webhooks"][0]["enabled"], what="the end")


def test_over_tls_the_name_is_checked_although_the_address_is_dialled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(tmp_path / "certs", ["hook.test"])
    receiving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    receiving.load_cert_chain(tmp_path / "certs" / "vault.pem", tmp_path / "certs" / "vault.key")
    trusted = ssl.create_default_context(cafile=str(tmp_path / "certs" / "ca-server.pem"))
    monkeypatch.setattr("paycall.panel.services.webhook_sender.trusted", lambda: trusted)
    real = asyncio.SelectorEventLoop.getaddrinfo

    async def look_up(loop: Any, host: Any, port: Any, **more: Any) -> Any:
        return await real(loop, "127.0.0.1" if str(host).endswith(".test") else host, port, **more)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "getaddrinfo", look_up)
    receiver = Receiver(receiving)
    with PanelServer(tmp_path) as server, httpx.Client(base_url=f"{server.url}/api/v1", timeout=40) as boss:
        server.world.add("boss", Role.ADMINISTRATOR)
        boss.post("/session", json={"name": "boss", "password": PASSWORD})
        for host, state, error in (("hook.test", "delivered", None), ("other.test", "pending", "connection")):
            made = _subscribe(boss, f"https://{host}:{receiver.port}/hook", "payment.*")
            path = f"/webhook-subscriptions/{made['webhook']['id']}"
            boss.post(f"{path}/test")
            until(_tried(boss, path), what="try")
            (item,) = boss.get(f"{path}/deliveries").json()["deliveries"]
            assert (item["state"], item["error"]) == (state, error), host
    assert [headers["host"] for headers, _ in receiver.got] == [f"hook.test:{receiver.port}"]
    receiver.close()


def _tried(boss: httpx.Client, path: str) -> Callable[[], bool]:
    return lambda: bool(boss.get(f"{path}/deliveries").json()["deliveries"][0]["tries"])


def test_a_new_secret_signs_beside_the_former_one_until_the_receiver_has_changed_over(
    server: PanelServer, boss: httpx.Client, receiver: Receiver
) -> None:
    made = _subscribe(boss, receiver.url, "payment.*")
    path = f"/webhook-subscriptions/{made['webhook']['id']}"

    def secrets_that_fit(*known: str) -> list[bool]:
        count = len(receiver.got)
        boss.post(f"{path}/test")
        until(lambda: len(receiver.got) > count, what="test event")
        now_s = server.world.clock.now().timestamp()
        fits = []
        for secret in known:
            try:
                example.verify_webhook(secret, *receiver.got[-1], now_s=now_s)
                fits.append(True)
            except ValueError:
                fits.append(False)
        return fits

    first = made["secret"]
    rolled = boss.post(f"{path}/secret", json={"grace_hours": 2})
    assert rolled.status_code == 200 and rolled.json()["webhook"]["former_secret_until"]
    second = rolled.json()["secret"]
    assert secrets_that_fit(first, second) == [True, True]
    server.world.clock.advance(hours=2, seconds=1)
    assert boss.post("/session", json={"name": "boss", "password": PASSWORD}).status_code == 200
    assert secrets_that_fit(first, second) == [False, True]
    third = boss.post(f"{path}/secret", json={"grace_hours": 0}).json()["secret"]  # it has leaked
    assert secrets_that_fit(second, third) == [False, True]
    assert boss.post(f"{path}/secret", json={"grace_hours": 169}).status_code == 422


def test_a_delivery_is_sent_again_by_hand_under_its_id(boss: httpx.Client, receiver: Receiver) -> None:
    made = _subscribe(boss, receiver.url, "payment.*")
    path = f"/webhook-subscriptions/{made['webhook']['id']}"
    receiver.answers = [500]
    delivery = boss.post(f"{path}/test").json()

    def listed(state: str) -> list[dict[str, Any]]:
        return list(boss.get(f"{path}/deliveries?state={state}").json()["deliveries"])

    until(lambda: listed("pending")[0]["tries"] == 1, what="first try")
    assert boss.post(f"{path}/deliveries/{delivery['id']}/resend").status_code == 202
    until(lambda: listed("delivered"), what="second try")
    assert listed("pending") == listed("failed") == []
    assert boss.post(f"{path}/deliveries/{delivery['id']}/resend").status_code == 202  # it was lost there
    until(lambda: len(receiver.got) == 3, what="third")
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    other = _subscribe(boss, receiver.url, "call.*")["webhook"]["id"]
    wrong = boss.post(f"/webhook-subscriptions/{other}/deliveries/{delivery['id']}/resend")
    assert wrong.status_code == 404
    boss.patch(path, json={"enabled": False})
    assert boss.post(f"{path}/deliveries/{delivery['id']}/resend").status_code == 409
