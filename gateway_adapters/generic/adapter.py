"""The generic connector's adapter: it can charge, and nothing else.

The protocol has no look-up, void, refund or reversal. The same attempt is sent under the same transaction id,
and it is up to the endpoint to recognise it; an outcome that stays unknown has to be settled by people with the
endpoint's own tools.
"""

# ruff: noqa: ARG002  # a port's methods take what the port says, needed here or not

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

from gateway_adapters.generic import wire
from gateway_adapters.http import HttpExchange, fault_of
from gateway_adapters.options import Options
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card, OperationKind, Traits
from paycall.domain.declines import System
from paycall.domain.errors import SettingsError
from paycall.domain.money import Money
from paycall.domain.secret import Secret

_UNSUPPORTED = OperationResult(OperationOutcome.FAILED, raw_code="not-supported")


class GenericAcquirer:
    """An endpoint of Twilio's generic pay connector as an ``Acquirer``.

    Parameters
    ----------
    url, path
        The endpoint; ``path`` is what charges are posted to.
    username, password
        For HTTP Basic.
    codes
        Whose codes the endpoint's ``error_code`` are: a system of ``decline_codes``.
    parameters
        Extra parameters that every charge carries.
    """

    name = wire.NAME
    # The protocol says nothing of how long a transaction id is recognised; a resend comes within minutes or never.
    traits = Traits(key_life_s=300, holds_back=False, reverses=False, settles_part=False)

    def __init__(
        self,
        url: str,
        username: str,
        password: Secret,
        *,
        path: str = "/charge",
        codes: System = "iso8583_de39",
        parameters: Mapping[str, str] | None = None,
        read_s: float = 30.0,
    ) -> None:
        credentials = base64.b64encode(f"{username}:{password.expose()}".encode()).decode()
        self._http = HttpExchange(url, headers={"Authorization": f"Basic {credentials}"}, read_s=read_s)
        self._path = path
        self._codes: System = codes
        self._parameters = dict(parameters or {})

    @classmethod
    def from_settings(cls, table: Mapping[str, Any]) -> GenericAcquirer:
        """Make it from ``[vault.acquirers.generic]``.

        Raises
        ------
        SettingsError
            If a setting is missing, wrong or unknown.
        """
        options = Options(cls.name, table)
        url = options.url("url")
        username = options.text("username")
        password = options.secret("api_key")
        path = options.text("path", "/charge")
        codes = options.text("codes", "iso8583_de39")
        parameters = {str(name): str(value) for name, value in options.table("parameters").items()}
        read_s = options.number("read_s", 30.0, least=0.1, most=120.0)
        options.done()
        for system in get_args(System):
            if system == codes:
                return cls(
                    url, username, password, path=path, codes=system, parameters=parameters, read_s=read_s
                )
        raise SettingsError("setting vault.acquirers.generic.codes: is not a system of decline codes")

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """Charge; the protocol takes the money at once."""
        answer = await self._http.send(
            "POST",
            self._path,
            json_body=wire.charge_body(request, card, self._parameters),
            headers={
                "Idempotency-Key": request.attempt_id,
                "I-Twilio-Idempotency-Token": request.attempt_id,
            },
        )
        if answer.status in (200, 201, 402) and answer.body is not None:
            return wire.charge_result(answer.body, request, self._codes)
        raise fault_of(answer)

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        """The protocol has no look-up."""
        return AuthorizationResult(Outcome.UNKNOWN, self.name)

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """The charge has taken the money already."""
        return OperationResult(OperationOutcome.DONE, acquirer_reference, "charged-at-once")

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """The protocol has no void."""
        return _UNSUPPORTED

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """The protocol has no refund."""
        return _UNSUPPORTED

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        """What each operation answers, always the same."""
        return await self.settle(key, acquirer_reference, money) if kind == "settle" else _UNSUPPORTED

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        """The protocol has no reversal."""
        return _UNSUPPORTED

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
