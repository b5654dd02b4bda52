"""The adapter for a bank's host."""

# ruff: noqa: ARG002  # a port's methods take what the port says, needed here or not

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from gateway_adapters.iso8583 import wire
from gateway_adapters.iso8583.codec import Codec, Encoding
from gateway_adapters.iso8583.link import HostLink
from gateway_adapters.iso8583.wire import FieldMap, Terminal, Trace
from gateway_adapters.options import Options
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card, OperationKind, Traits
from paycall.domain.errors import SettingsError
from paycall.domain.money import Money


class Iso8583Acquirer:
    """A bank's host as an ``Acquirer``.

    It has no look-up without the card number, and paycall does not keep the card for one: an unknown outcome is
    reversed (0400), which a host answers whether the original arrived or not.
    """

    name = wire.NAME
    # Trace number and retrieval reference name a message within a business day (ISO 8583, data elements 11 and 37);
    # a host that was told to reverse what it does not have declines the original when it comes.
    traits = Traits(key_life_s=86_400, reads_operations=False)

    def __init__(self, link: HostLink, terminal: Terminal) -> None:
        self._link = link
        self._terminal = terminal

    @classmethod
    def from_settings(cls, table: Mapping[str, Any]) -> Iso8583Acquirer:
        """Make it from ``[vault.acquirers.iso8583]``.

        Settings: url (``tls://host:port``; ``tcp://`` to this machine or with ``private_line = true``),
        institution_id, terminal_id, merchant_id, merchant_category, encoding (ascii or binary), read_s, echo_s
        and the table ``fields`` (see ``wire.FieldMap``).

        Raises
        ------
        SettingsError
            If a setting is missing, wrong or unknown.
        """
        options = Options(cls.name, table)
        private_line = options.flag("private_line")
        url = options.url("url", schemes=("tls", "tcp"), plain="tcp", plain_anywhere=private_line)
        terminal = Terminal(
            institution_id=options.text("institution_id"),
            terminal_id=f"{options.text('terminal_id'):<8}",
            merchant_id=f"{options.text('merchant_id'):<15}",
            merchant_category=options.text("merchant_category") if "merchant_category" in table else "",
            fields=_field_map(options.table("fields")),
        )
        encoding: Encoding = "binary" if options.text("encoding", "ascii") == "binary" else "ascii"
        read_s = options.number("read_s", 20.0, least=0.1, most=120.0)
        echo_s = options.number("echo_s", 60.0, least=0.1, most=3600.0)
        options.done()
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise SettingsError("setting vault.acquirers.iso8583.url: must name a port")
        tls = ssl.create_default_context() if parts.scheme == "tls" else None
        link = HostLink(
            parts.hostname, parts.port, Codec(encoding), terminal, tls=tls, read_s=read_s, echo_s=echo_s
        )
        return cls(link, terminal)

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """Send the 0100; the same attempt is the same trace number and retrieval reference."""
        message = wire.authorization_message(request, card, self._terminal, self._link.now())
        return wire.authorization_result(await self._link.ask(message), request, self._terminal)

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        """A host is asked by repeating the request, which needs the card: unknown."""
        return AuthorizationResult(Outcome.UNKNOWN, self.name)

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Send the 0220 of a completion."""
        return await self._complete(key, acquirer_reference, money, wire.PURCHASE)

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """Send the 0400 of a known authorization."""
        original, _ = wire.split_reference(acquirer_reference)
        message = wire.reversal_message(key, original, None, self._terminal, self._link.now())
        return wire.operation_result(await self._link.ask(message), acquirer_reference)

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Send the 0220 of a refund."""
        return await self._complete(key, acquirer_reference, money, wire.REFUND)

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        """A host tells nothing of an advice but the answer to its repeat."""
        return OperationResult(OperationOutcome.UNKNOWN)

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        """Send the 0400 of an authorization that may or may not have arrived."""
        original = Trace.of(attempt_id)
        message = wire.reversal_message(key, original, money, self._terminal, self._link.now())
        if self._terminal.fields.reference:
            message[self._terminal.fields.reference] = attempt_id
        answer = await self._link.ask(message)
        return wire.operation_result(answer, wire.join_reference(original, ""), reversal=True)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._link.aclose()

    async def _complete(self, key: str, reference: str, money: Money, code: str) -> OperationResult:
        message = wire.completion_message(key, reference, money, self._terminal, self._link.now(), code=code)
        return wire.operation_result(await self._link.ask(message), reference)


def _field_map(table: Mapping[str, Any]) -> FieldMap:
    try:
        return FieldMap(**{name: str(value) for name, value in table.items()})
    except TypeError:
        raise SettingsError(
            "setting vault.acquirers.iso8583.fields: holds a name that is not a field"
        ) from None
