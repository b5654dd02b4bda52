"""What the panel needs from outside; bootstrap makes it, tests make it from parts that work."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from paycall.domain.ports import CallControl, Clock, PaymentVault, TestCalls
from paycall.settings import PanelSettings, SiteSettings


@dataclass(frozen=True)
class PanelDependencies:
    """Everything that ``create_app`` is given."""

    settings: PanelSettings
    site: SiteSettings
    database: Engine
    calls: CallControl
    vault: PaymentVault
    test_calls: TestCalls | None
    clock: Clock
