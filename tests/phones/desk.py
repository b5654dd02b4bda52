"""The operator's desk: a whole paycall, driven through the public HTTP API only."""

from __future__ import annotations

import secrets
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from paycall.demo.stack import Stack, start_stack
from tests.phones import capture
from tests.phones.rtp import all_before_others
from tests.phones.site import PATIENCE_S, until

NUMBER, EXPIRY, CODE = "payment-card-number", "expiration-date", "security-code"


class Desk:
    """An operator who is signed in."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.http = httpx.Client(base_url=f"{stack.panel_url}/api/v1", timeout=PATIENCE_S, trust_env=False)
        answer = self.http.post("/session", json={"name": stack.operator, "password": stack.password})
        assert answer.status_code == 200, answer.text
        for (
            cookie
        ) in self.http.cookies.jar:  # httpx sends a secure one by HTTPS only; browsers, on this machine, too
            cookie.secure = False

    def get(self, path: str) -> dict[str, Any]:
        """A GET that must work."""
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def post(self, path: str, status: int = 202, **body: Any) -> dict[str, Any]:
        """A POST that must answer with this status."""
        answer = self.http.post(path, json=body or None, headers={"Idempotency-Key": secrets.token_hex(8)})
        assert answer.status_code == status, answer.text
        return dict(answer.json()) if answer.content else {}

    def call(self, state: str = "connected", timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The newest call, once it is in this state."""

        def newest() -> dict[str, Any] | None:
            calls = self.get("/calls?state=all")["calls"]
            return calls[0] if calls and calls[0]["state"] == state else None

        return dict(until(newest, timeout_s, f"call that is {state}"))

    def pay(self, call: dict[str, Any], amount_minor: int = 4990, **body: Any) -> str:
        """Start a payment on the call; gives its id once the line is masked."""
        payment = self.post(
            f"/calls/{call['id']}/payments", 201, amount_minor=amount_minor, currency="EUR", **body
        )
        until(lambda: self.get(f"/payments/{payment['id']}")["masked"], what="mask")
        return str(payment["id"])

    def take(self, payment_id: str, *fields: str) -> None:
        """Ask for these fields (again); the caller, too, keys only when the first of them is asked for."""
        self.post(f"/payments/{payment_id}/capture", fields=fields)
        self.payment(payment_id, lambda p: p["state"] == "capturing" and p["collecting"] == fields[0])

    def payment(
        self, payment_id: str, wanted: Callable[[dict[str, Any]], bool] | str, timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """The payment, once it is in this state or fulfils the condition."""
        test = (lambda p: p["state"] == wanted) if isinstance(wanted, str) else wanted

        def found() -> dict[str, Any] | None:
            try:
                payment = self.get(f"/payments/{payment_id}")
            except httpx.TransportError:  # the panel is being restarted
                return None
            return payment if test(payment) else None

        return dict(until(found, timeout_s, f"payment that is {wanted}"))

    def digits(self, payment_id: str, field: str) -> int:
        """How many digits of the field there are."""
        fields = self.get(f"/payments/{payment_id}")["fields"]
        return next((f["digits"] for f in fields if f["field"] == field), 0)

    def process(self, name: str) -> psutil.Process:
        """The process of the stack with this name."""
        assert self.stack.process is not None
        for child in psutil.Process(self.stack.process.pid).children():
            if child.cmdline()[1:4] == ["-m", "paycall", name]:
                return child
        raise AssertionError(f"no process {name}")

    def kill(self, process: psutil.Process) -> None:
        """kill -9, and wait until it is gone."""
        process.send_signal(signal.SIGKILL)
        psutil.wait_procs([process], timeout=PATIENCE_S)

    def reconnect(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the panel answers again; the session is kept."""

        def up() -> bool:
            try:
                return self.http.get("/calls").status_code == 200
            except httpx.TransportError:
                return False

        until(up, timeout_s, "panel")


@contextmanager
def desk(cells: int = 2, extra: str = "", media: str = "") -> Iterator[Desk]:
    """A stack of its own with an operator at it."""
    with tempfile.TemporaryDirectory(prefix="paycall-", dir="/tmp") as folder:
        stack = start_stack(Path(folder), cells, extra, media=media)
        try:
            seat = Desk(stack)
            all_before_others(seat.process("media").pid)
            try:
                with capture.watched(stack.config):
                    yield seat
            finally:
                seat.http.close()
        finally:
            stack.stop()
