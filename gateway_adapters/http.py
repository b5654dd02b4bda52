"""One HTTP exchange with an acquirer, and what its failures mean for the money.

Rules: a connection that was never opened carried nothing (``NotSentError``); whatever goes wrong after that
leaves the outcome unknown (``NoAnswerError``); a refusal of our credentials or format means that nothing was
charged (``RefusedRequestError``). Faults are raised outside the ``except`` block and answers do not keep their
request: httpx's errors and responses hold the body that was sent, and with it the card.
"""

from __future__ import annotations

import functools
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from paycall.domain.errors import AcquirerFault, NoAnswerError, NotSentError, RefusedRequestError

# More than any answer that we ask for; a list of a hundred payments is a tenth of it.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
# Beyond any amount of money; what is made of it in minor units has to fit a database column of 64 bits.
_MAX_INT = 10**15
_NEVER_OPENED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates that every exchange trusts; reading them takes longer than a request."""
    return httpx.create_ssl_context()


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: the status, and the body where it is a JSON object (``body``) or list (``items``)."""

    status: int
    body: dict[str, Any] | None = None
    items: list[Any] | None = None


class HttpExchange:
    """A connection pool to one acquirer. ``read_s`` is how long we wait for an answer that was asked for."""

    def __init__(
        self, url: str, *, headers: Mapping[str, str], connect_s: float = 3.0, read_s: float = 20.0
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            # Not packed: what is unpacked can be a thousand times what came.
            headers={"Accept-Encoding": "identity", **headers},
            timeout=httpx.Timeout(read_s, connect=connect_s, pool=connect_s),
            # An idle connection that the other side is about to close loses a request with no answer,
            # so ours are given up first.
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=4.0),
            verify=_trusted(),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        json_body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send once and wait for the answer.

        Raises
        ------
        NotSentError
            No connection.
        NoAnswerError
            Anything after that: a time-out, a broken connection, a protocol error, an answer of more than
            ``MAX_ANSWER_BYTES``.
        """
        try:
            async with self._client.stream(
                method,
                path,
                json=json_body,
                data=form,
                params=params,
                headers=dict(headers or {}),
            ) as response:
                content = bytearray()
                async for part in response.aiter_raw():
                    content += part
                    if len(content) > MAX_ANSWER_BYTES:
                        break
                else:
                    return _answer(response.status_code, bytes(content))
            fault: AcquirerFault = NoAnswerError()
        except _NEVER_OPENED:
            fault = NotSentError()
        except httpx.HTTPError:
            fault = NoAnswerError()
        raise fault

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def fault_of(answer: Answer) -> AcquirerFault:
    """The fault that an answer without a usable result means.

    429 was turned away before anything was done: safe to send again. 409 is still being worked on, 5xx may have
    been done. Only a plain refusal of the request is certain not to have charged.
    """
    if answer.status == 429:
        return NotSentError()
    if answer.status in (400, 401, 403, 404, 405, 406, 413, 415, 422):
        return RefusedRequestError()
    return NoAnswerError()


def text_of(body: Mapping[str, Any], name: str) -> str | None:
    """A text or whole number of an answer, as text; None for anything else, and for what no database would keep."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if 0 < len(text) <= 255 and text.isprintable() else None


def int_of(body: Mapping[str, Any], name: str) -> int | None:
    """A whole number of an answer; None for anything else, and for what no amount can be."""
    value = body.get(name)
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_INT
    return value if fits else None


def _answer(status: int, content: bytes) -> Answer:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return Answer(status)
    if isinstance(value, dict):
        return Answer(status, body=value)
    return Answer(status, items=value if isinstance(value, list) else None)
