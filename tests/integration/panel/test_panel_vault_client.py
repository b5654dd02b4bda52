"""The panel's side of the vault over a real Unix socket: what each answer means."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from paycall.domain.authorization import AuthorizationRequest, OperationOutcome, Outcome, Search
from paycall.domain.declines import decline_for, decline_to_json
from paycall.domain.errors import (
    NotFoundError,
    NotSentError,
    RefusedRequestError,
    SecurityCodeGoneError,
    SettingsError,
    StateError,
    VaultError,
    VaultUnavailableError,
)
from paycall.domain.money import Money
from paycall.panel.vault_client import HttpPaymentVault

REQUEST = AuthorizationRequest("att_a", "pay_a", Money(1999, "EUR"), "INV-1", "tea")


class Answers:
    """A vault that answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.next: Response = JSONResponse({})
        self.asked: list[tuple[str, str, Any]] = []
        self.app = FastAPI(openapi_url=None)

        @self.app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
        async def anything(path: str, request: Request) -> Response:
            body = await request.body()
            self.asked.append((request.method, path, await request.json() if body else None))
            return self.next

    def problem(self, status: int, code: str) -> None:
        self.next = JSONResponse({"code": code}, status, media_type="application/problem+json")


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Answers, HttpPaymentVault]]:
    answers, path = Answers(), folder / "vault.sock"
    server = uvicorn.Server(uvicorn.Config(answers.app, uds=str(path), log_level="error"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    vault = HttpPaymentVault(f"unix:{path}")
    try:
        yield answers, vault
    finally:
        await vault.close()
        server.should_exit = True
        await task


def test_answers_are_read_and_requests_carry_the_ids(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (answers, vault):
            answers.next = JSONResponse(
                {
                    "outcome": "approved",
                    "acquirer": "sandbox",
                    "acquirer_reference": "x",
                    "authorization_code": "123456",
                    "avs_result": None,
                    "code_result": "M",
                    "approved_minor": 1999,
                    "decline": None,
                }
            )
            approved = await vault.authorize(REQUEST, "tok_a")
            assert approved.outcome is Outcome.APPROVED and approved.authorization_code == "123456"
            assert answers.asked[-1] == (
                "POST",
                "v1/authorizations",
                {
                    "attempt_id": "att_a",
                    "payment_id": "pay_a",
                    "token": "tok_a",
                    "amount_minor": 1999,
                    "currency": "EUR",
                    "reference": "INV-1",
                    "description": "tea",
                },
            )
            decline = decline_for("iso8583_de39", "51")
            answers.next = JSONResponse(
                {"outcome": "declined", "acquirer": "sandbox", "decline": decline_to_json(decline)}
            )
            declined = await vault.attempt("att_a")
            assert declined is not None and declined.decline == decline
            search = {
                "rounds": 2,
                "asks_again": False,
                "reversing": True,
                "next_in_s": 4.0,
                "people_in_s": 90.0,
            }
            answers.next = JSONResponse({"outcome": "unknown", "acquirer": "sandbox", "search": search})
            unknown = await vault.enquire("att_a")
            assert unknown is not None and unknown.search == Search(**search)
            assert answers.asked[-1] == ("POST", "v1/authorizations/att_a/enquire", None)
            answers.next = JSONResponse({"outcome": "done", "acquirer_reference": None, "raw_code": "00"})
            assert (await vault.void("op_a", "att_a")).outcome is OperationOutcome.DONE
            assert answers.asked[-1] == ("POST", "v1/authorizations/att_a/void", {"operation_id": "op_a"})
            answers.next = Response(status_code=204)
            await vault.drop("pay_a")
            assert answers.asked[-1][:2] == ("DELETE", "v1/payments/pay_a")

    asyncio.run(scenario())


def test_each_problem_has_its_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (answers, vault):
            for status, code, expected in (
                (409, "security-code-gone", SecurityCodeGoneError),
                (409, "wrong-state", StateError),
                (404, "not-found", NotFoundError),
                (503, "not-sent", NotSentError),
                (502, "refused-request", RefusedRequestError),
                (422, "invalid-input", VaultError),
                (500, "internal-error", VaultUnavailableError),
                (503, "vault-unavailable", VaultUnavailableError),
            ):
                answers.problem(status, code)
                with pytest.raises(expected):
                    await vault.authorize(REQUEST, "tok_a")
            answers.problem(404, "not-found")
            assert await vault.card("pay_a") is None
            assert await vault.attempt("att_a") is None

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"nonsense", b'{"outcome": "maybe", "acquirer": "x"}'])
def test_an_answer_that_is_not_understood_is_no_answer(tmp_path: Path, body: bytes) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (answers, vault):
            answers.next = Response(body, media_type="application/json")
            with pytest.raises(VaultUnavailableError):
                await vault.authorize(REQUEST, "tok_a")

    asyncio.run(scenario())


def test_nobody_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        vault = HttpPaymentVault(f"unix:{tmp_path / 'nothing.sock'}")
        with pytest.raises(VaultUnavailableError):
            await vault.card("pay_a")
        await vault.close()

    asyncio.run(scenario())
    with pytest.raises(SettingsError):
        HttpPaymentVault("ftp://vault")
