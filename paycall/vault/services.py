"""The parts of the vault, put together: one state behind both interfaces, and its background work."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog

from gateway_adapters.routing import Routing
from paycall.audit import TELL_HEAD_S, Entry
from paycall.domain.card_ports import Acquirer
from paycall.domain.errors import SettingsError, TamperedError, VaultUnavailableError
from paycall.domain.ports import Clock
from paycall.settings import SiteSettings, VaultSettings
from paycall.vault.acquiring import Acquirers
from paycall.vault.authorizer import Authorizer
from paycall.vault.budgets import RetryBudgets
from paycall.vault.codes import SecurityCodes
from paycall.vault.database import make_engine, migrate
from paycall.vault.exclusive import ExclusiveLock
from paycall.vault.hardening import Forgetting
from paycall.vault.kept_cards import KeptCards
from paycall.vault.keys import KeyRing, open_provider
from paycall.vault.metrics import VaultMetrics, VaultState
from paycall.vault.operations import Operations
from paycall.vault.resolver import Resolver
from paycall.vault.reviews import Reviews
from paycall.vault.store import Store
from paycall.vault.tables import audit
from paycall.vault.tokenizer import Tokenizer, TokenizerRules
from paycall.vault.webhooks import Webhooks

_log = structlog.get_logger(__name__)
_STOP_LIMIT_S = 10.0
_UPKEEP_PAUSE_S = 5.0
_FORGET_PAUSE_S = 0.5
_CHECKPOINT_PAUSE_S = 1.0
# How long the event loop may wait for a thread that computes: 5 ms by default, and an authorization waits four times.
_SWITCH_S = 0.001


class Services:
    """What the routes call.

    Raises
    ------
    SettingsError
        If keys or acquirers are not set up.
    """

    def __init__(
        self,
        settings: VaultSettings,
        site: SiteSettings,
        adapters: Mapping[str, Acquirer],
        clock: Clock,
        metrics: VaultMetrics,
    ) -> None:
        self.metrics = metrics
        self._clock = clock
        self.store = Store(make_engine(settings.database_url.get_secret_value()))
        self._exclusive = ExclusiveLock(self.store.engine)
        self.ring = KeyRing(open_provider(settings), site.name)
        self.codes = SecurityCodes(settings.security_code_minutes * 60, clock.monotonic)
        self._forgetting = Forgetting()
        routing = Routing.from_settings(settings.routes, set(adapters))
        self.acquirers = Acquirers(
            adapters, settings.acquirer, settings.acquirer_timeout_s, self._forgetting, routing
        )
        rules = TokenizerRules(live=site.mode == "live", keep_s=settings.one_time_token_hours * 3600)
        self.tokenizer = Tokenizer(self.store, self.ring, site.name, self.codes, clock, rules)
        counting = site.mode == "live" or settings.retry_limits == "always"
        self.budgets = RetryBudgets(self.store, clock, counting=counting)
        months = settings.reusable_token_months
        self.kept_cards = KeptCards(self.store, self.tokenizer, self.codes, clock, months)
        self.authorizer = Authorizer(
            self.store, self.tokenizer, self.codes, self.acquirers, self.budgets, self.kept_cards, clock
        )
        self.operations = Operations(self.store, self.acquirers, clock)
        self.resolver = Resolver(self.store, self.tokenizer, self.codes, self.acquirers, clock)
        self.reviews = Reviews(self.store, self.acquirers, self.codes, clock, self.resolver.busy)
        self.webhooks = Webhooks(self.store, self.acquirers, self.codes, clock)
        self._workers: list[asyncio.Task[None]] = []
        metrics.registry.register(
            VaultState(
                self.store,
                lambda: self.ring.active_version,
                self.acquirers.held_back,
                self.reviews.waiting,
            )
        )

    async def start(self) -> None:
        """Open the database, check that the keys fit it, start the background work."""
        try:
            await asyncio.to_thread(self._open)
        except BaseException:
            self._exclusive.release()
            raise
        sys.setswitchinterval(_SWITCH_S)
        self._forgetting.settle()
        self._workers = [
            asyncio.create_task(self.resolver.run(self.authorizer, self.operations)),
            asyncio.create_task(_for_ever(self._upkeep, _UPKEEP_PAUSE_S)),
            asyncio.create_task(_for_ever(self._forget, _FORGET_PAUSE_S)),
            asyncio.create_task(_for_ever(partial(asyncio.to_thread, self.tell_audit_head), TELL_HEAD_S)),
            asyncio.create_task(
                _for_ever(partial(asyncio.to_thread, self.store.checkpoint), _CHECKPOINT_PAUSE_S)
            ),
        ]

    async def stop(self) -> None:
        """Let what is on its way come to its answer, wipe the codes, close everything."""
        await self.authorizer.stop(_STOP_LIMIT_S)
        await self.operations.stop(_STOP_LIMIT_S)
        for worker in self._workers:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
        self.codes.close()
        await self.acquirers.close()
        await asyncio.to_thread(self._close)

    def note_refused(self, role: str, source: str, what: str) -> None:
        """Write down who was turned away. Blocking."""
        _log.warning("refused", role=role, reason=what)
        self.metrics.refused(role)
        with self.store.begin() as connection:
            entry = Entry(role, what, "vault", "refused", source)
            self.store.note(connection, entry, self._clock.now())

    def _open(self) -> None:
        self._exclusive.take()
        migrate(self.store.engine)
        self._note("log started")
        if not self.codes.locked:
            _log.warning("memory_not_locked")
        try:
            self.tokenizer.fingerprint_key()
        except TamperedError:
            raise SettingsError("vault: the keys are not those that this database was written with") from None
        except VaultUnavailableError as error:  # calls go on; fields and authorizations get this error
            _log.error("key_provider_failed", code=error.code)

    def _close(self) -> None:
        self._note("log stopped")
        self.tell_audit_head()
        self._exclusive.release()
        self.ring.provider.close()
        self.store.close(_STOP_LIMIT_S)

    def tell_audit_head(self) -> None:
        """A witness of the audit log outside of the database: our own log."""
        with self.store.reading() as connection:
            audit.tell_head(connection, "vault")

    def _note(self, action: str) -> None:
        with self.store.begin() as connection:
            self.store.note(connection, Entry("vault", action, "vault", "done"), self._clock.now())

    async def _forget(self) -> None:
        """Wipe codes whose minutes are over, and what libraries keep of a request."""
        self.codes.sweep()
        self._forgetting.collect()

    async def _upkeep(self) -> None:
        """Delete what is too old; bring what an older key wrapped under the active one."""
        await asyncio.to_thread(self._exclusive.keep)
        for name, work in (
            ("cards_deleted", self.tokenizer.delete_expired),
            ("kept_cards_deleted", self.kept_cards.delete_old),
            ("keys_renewed", self.renew_keys),
            ("webhook_events_deleted", self.webhooks.delete_old),
        ):
            while count := await asyncio.to_thread(work):
                _log.info(name, count=count)

    def renew_keys(self) -> int:
        """Bring a batch of rows under the active key version; gives how many were not yet."""
        count = self.tokenizer.renew_keys() + self.kept_cards.renew_keys(self.ring.active_version)
        if count:
            self._note(f"renew {count} keys")
        return count


async def _for_ever(work: Callable[[], Awaitable[None]], pause_s: float) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # a provider or a database that is away comes back
            _log.error("upkeep_failed", error=type(error).__name__)
        await asyncio.sleep(pause_s)
