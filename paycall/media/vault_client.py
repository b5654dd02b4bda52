"""Hands a finished field to the vault.

Rules: the digits are in the request's body and nowhere else, and the body is wiped after each try; no error of this
module carries the request. A field waits at most ``MAX_WAIT_S``; then it is asked for again. The value is wiped as
soon as the vault has answered, or the wait is over.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable

import structlog

from paycall.domain.errors import CardDataError, VaultError, VaultUnavailableError
from paycall.domain.fields import Field
from paycall.domain.ids import is_id
from paycall.domain.secret import DigitBuffer
from paycall.media.wipeable_put import Answer, Server, put_json

log = structlog.get_logger(__name__)

MAX_WAIT_S = 60.0
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 2.0
_HEAD, _TAIL = b'{"value": "', b'"}'


class VaultClient:
    """The cell's end of the vault.

    Parameters
    ----------
    address
        ``unix:PATH`` or ``https://host:port``.
    tls
        For ``https``: a context with the cell's certificate and the site's CA.
    on_failure
        Called after each try that got no answer, or one that says to try again.
    """

    def __init__(
        self,
        address: str,
        tls: ssl.SSLContext | None = None,
        max_wait_s: float = MAX_WAIT_S,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._max_wait_s = max_wait_s
        self._on_failure = on_failure
        self._server = Server.at(address, tls)

    async def store(self, payment_id: str, field: Field, value: DigitBuffer) -> str:
        """Store a field; gives the payment's token. The value is wiped in any case.

        Raises
        ------
        CardDataError
            The vault refused the field; ``code`` says why.
        VaultUnavailableError
            The vault could not be reached for as long as a field may wait.
        VaultError
            The vault answered something that a retry will not change.
        """
        try:
            return await self._store(payment_id, field, value)
        finally:
            value.wipe()

    async def _store(self, payment_id: str, field: Field, value: DigitBuffer) -> str:
        give_up_at = time.monotonic() + self._max_wait_s
        pause_s = _FIRST_PAUSE_S
        while True:
            answer = await self._put(f"/v1/payments/{payment_id}/fields/{field.value}", value)
            if answer is not None:
                return _read(answer)
            if time.monotonic() + pause_s > give_up_at:
                raise VaultUnavailableError
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _MAX_PAUSE_S)

    async def _put(self, path: str, value: DigitBuffer) -> Answer | None:
        """One try; None if there was no answer, or one that says to try again."""
        body = bytearray(_HEAD + bytes(len(value)) + _TAIL)
        value.write_into(body, len(_HEAD))  # exposed: this request's body is the one way to the vault
        try:
            answer = await put_json(self._server, path, body)
        except VaultUnavailableError:
            log.warning("vault_unreachable")
            self._on_failure()
            return None
        finally:
            body[:] = bytes(len(body))
        if answer.status >= 500:
            log.warning("vault_unwell", status=answer.status)
            self._on_failure()
            return None
        return answer


def _read(answer: Answer) -> str:
    """The token of a 200.

    Raises
    ------
    CardDataError, VaultError
        For 422, and for anything else.
    """
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise VaultError
    if answer.status == 422:
        raise CardDataError(str(body.get("code", "")))
    token = body.get("token")
    if answer.status != 200 or not isinstance(token, str) or not is_id(token, "tok"):
        raise VaultError
    return token
