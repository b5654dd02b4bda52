"""Sends what ``webhook_events`` wrote down, signed, until it is taken or has been tried for three days.

Rules: the headers are those of Standard Webhooks (https://www.standardwebhooks.com): ``webhook-id`` is the same for
every try, ``webhook-timestamp`` is the try's, ``webhook-signature`` is ``v1,`` and the base64 of an HMAC-SHA256 over
``id.timestamp.body``, one after the other where two secrets are good. Any 2xx takes it; 410 ends the webhook. What is
due is in the database, so a restart forgets nothing; a delivery may come twice, never under two ids. Each webhook has
its own worker: a slow one delays nobody.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import hmac
import secrets
import ssl
from dataclasses import dataclass
from datetime import timedelta

import httpx
import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from paycall.panel.services.audit import PANEL, note
from paycall.panel.services.context import Context
from paycall.panel.services.webhook_address import Places, WebhookUrlError, find_target
from paycall.store.tables import DeliveryRow, WebhookRow

_log = structlog.get_logger(__name__)
_ROUND_S = 2.0
_ANSWER_S = 10.0
# After the first try; three days in all.
_PAUSES_S = (5, 30, 300, 1800, 7200, 18000, 36000, 36000, 36000, 50400, 64800)
_DISABLE_AFTER = timedelta(days=3)
_KEEP = timedelta(days=30)
_GONE = 410
SECRET_PREFIX = "whsec_"  # noqa: S105 - how every secret begins


def new_secret() -> str:
    """A secret to sign with, as the receiver is given it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@functools.cache
def trusted() -> ssl.SSLContext:
    """Whom to believe: what the system trusts (read once), so that a site can add an authority of its own."""
    return ssl.create_default_context()


def places_of(context: Context) -> Places:
    """Where this site's webhooks may go."""
    return Places(context.deps.site.mode == "sandbox", context.deps.settings.webhook_private_addresses)


@dataclass(frozen=True)
class _Order:
    id: str
    url: str
    secrets_sealed: tuple[str, ...]
    body: bytes


class WebhookSender:
    """Follows the table of deliveries."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self) -> None:
        """Until cancelled."""
        tidy_at_s = 0.0
        tls = trusted()
        async with httpx.AsyncClient(
            verify=tls, timeout=_ANSWER_S, trust_env=False
        ) as client:  # follows nothing
            while True:
                try:
                    if self._context.deps.clock.monotonic() >= tidy_at_s:
                        tidy_at_s = self._context.deps.clock.monotonic() + 3600
                        await self._context.write(self._tidy)
                    await self._round(client)
                except SQLAlchemyError as error:  # the database is away; it comes back, and so do we
                    _log.error("webhooks_failed", error=type(error).__name__)
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_ROUND_S):
                await self._context.deliveries_written.wait()
        except TimeoutError:
            return
        self._context.deliveries_written.clear()

    async def _round(self, client: httpx.AsyncClient) -> None:
        for webhook_id in await self._context.read(self._due):
            self._context.tasks.start(self._work_off(client, webhook_id), f"webhook:{webhook_id}", once=True)

    def _due(self, session: Session) -> list[str]:
        due = select(DeliveryRow.webhook_id).where(
            DeliveryRow.state == "pending", DeliveryRow.next_try_at <= self._context.now()
        )
        return [*session.scalars(select(WebhookRow.id).where(WebhookRow.enabled, WebhookRow.id.in_(due)))]

    async def _work_off(self, client: httpx.AsyncClient, webhook_id: str) -> None:
        """Send what is due to one webhook, in order."""
        while (order := await self._context.read(lambda s: self._next(s, webhook_id))) is not None:
            status, error = await self._send(client, webhook_id, order)
            delivery_id = order.id
            await self._context.write(lambda s: self._record(s, delivery_id, status, error))  # noqa: B023 - run at once

    def _next(self, session: Session, webhook_id: str) -> _Order | None:
        found = session.execute(
            select(DeliveryRow, WebhookRow)
            .join(WebhookRow, WebhookRow.id == DeliveryRow.webhook_id)
            .where(
                WebhookRow.id == webhook_id,
                WebhookRow.enabled,
                DeliveryRow.state == "pending",
                DeliveryRow.next_try_at <= self._context.now(),
            )
            .order_by(DeliveryRow.created_at, DeliveryRow.id)
            .limit(1)
        ).first()
        if found is None:
            return None
        delivery, webhook = found
        return _Order(delivery.id, webhook.url, self._secrets(webhook), delivery.body.encode())

    def _secrets(self, webhook: WebhookRow) -> tuple[str, ...]:
        """What signs now: the secret, and the one before it until the receiver has changed over."""
        former, until = webhook.former_secret_sealed, webhook.former_secret_until
        if former is None or until is None or until <= self._context.now():
            return (webhook.secret_sealed,)
        return (webhook.secret_sealed, former)

    async def _send(
        self, client: httpx.AsyncClient, webhook_id: str, order: _Order
    ) -> tuple[int | None, str | None]:
        """The answer's status, or why there was none."""
        timestamp = int(self._context.now().timestamp())
        secrets_now = [self._context.sealer.open(sealed, webhook_id) for sealed in order.secrets_sealed]
        try:
            target = await find_target(order.url, places_of(self._context))
            headers = {
                **target.headers,
                "content-type": "application/json",
                "user-agent": "paycall",
                "webhook-id": order.id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": " ".join(
                    sign(secret, order.id, timestamp, order.body) for secret in secrets_now
                ),
            }
            async with (
                asyncio.timeout(_ANSWER_S),
                client.stream(
                    "POST", target.url, content=order.body, headers=headers, extensions=target.extensions
                ) as answer,
            ):  # its body is never read: nothing in it is wanted
                return answer.status_code, None
        except WebhookUrlError:
            return None, "address"
        except (httpx.TimeoutException, TimeoutError):
            return None, "timeout"
        except (httpx.HTTPError, httpx.InvalidURL):
            return None, "connection"

    def _record(self, session: Session, delivery_id: str, status: int | None, error: str | None) -> None:
        row = session.get(DeliveryRow, delivery_id, with_for_update=True)
        webhook = session.get(WebhookRow, row.webhook_id, with_for_update=True) if row else None
        if row is None or webhook is None:  # removed meanwhile
            return
        now = self._context.now()
        row.tries, row.status, row.error = row.tries + 1, status, error
        row.answered_at = now if status is not None else None
        if status is not None and 200 <= status < 300:
            row.state, webhook.failing_since = "delivered", None
            return
        webhook.failing_since = webhook.failing_since or now
        if row.tries > len(_PAUSES_S) or status == _GONE:
            row.state = "failed"
        else:  # a tenth more or less, so that not everything comes back at once
            row.next_try_at = now + timedelta(
                seconds=_PAUSES_S[row.tries - 1] * (0.9 + secrets.randbelow(200) / 1000)
            )
        if status == _GONE or webhook.failing_since <= now - _DISABLE_AFTER:
            webhook.enabled = False
            note(session, now, PANEL, "webhook-disabled", target=webhook.id, result="failing")

    def _tidy(self, session: Session) -> None:
        """Forget what is long over, and secrets that sign no more."""
        over = WebhookRow.former_secret_until <= self._context.now()
        session.execute(
            update(WebhookRow).where(over).values(former_secret_sealed=None, former_secret_until=None)
        )
        session.execute(
            delete(DeliveryRow).where(
                DeliveryRow.state != "pending", DeliveryRow.created_at < self._context.now() - _KEEP
            )
        )
