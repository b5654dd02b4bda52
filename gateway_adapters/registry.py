"""The table of acquirers: a name in the settings, and what makes the adapter from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway_adapters.adyen.adapter import AdyenAcquirer
from gateway_adapters.breaker import GuardedAcquirer, Note, Observe
from gateway_adapters.checkout_com.adapter import CheckoutComAcquirer
from gateway_adapters.generic.adapter import GenericAcquirer
from gateway_adapters.iso8583.adapter import Iso8583Acquirer
from gateway_adapters.sandbox.adapter import SandboxAcquirer
from gateway_adapters.stripe.adapter import StripeAcquirer
from gateway_adapters.webhooks import WebhookReceiver
from paycall.domain.card_ports import Acquirer
from paycall.domain.errors import SettingsError

Factory = Callable[[Mapping[str, Any]], Acquirer]

REGISTRY: dict[str, Factory] = {
    "adyen": AdyenAcquirer.from_settings,
    "checkout_com": CheckoutComAcquirer.from_settings,
    "generic": GenericAcquirer.from_settings,
    "iso8583": Iso8583Acquirer.from_settings,
    "sandbox": SandboxAcquirer.from_settings,
    "stripe": StripeAcquirer.from_settings,
}


def make_acquirer(
    name: str, table: Mapping[str, Any], note: Note | None = None, observe: Observe | None = None
) -> GuardedAcquirer:
    """The adapter of this name, with its settings, behind its circuit breakers.

    ``note`` is told what should be logged, ``observe`` of every request (see ``breaker.GuardedAcquirer``).

    Raises
    ------
    SettingsError
        If there is none of this name, or a setting is wrong.
    """
    factory = REGISTRY.get(name)
    if factory is None:
        raise SettingsError(f"setting vault.acquirer: must be one of {', '.join(sorted(REGISTRY))}")
    return GuardedAcquirer(factory(table), note, observe=observe)


def webhook_receiver(acquirer: Acquirer) -> WebhookReceiver | None:
    """The acquirer's side that verifies webhooks; None if it sends none."""
    inner = acquirer.inner if isinstance(acquirer, GuardedAcquirer) else acquirer
    return inner if isinstance(inner, WebhookReceiver) else None
