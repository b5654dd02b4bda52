"""A running panel with a fake vault and a fake cell, and one operator signed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from paycall.panel.services import accounts
from paycall.settings import PanelSettings
from tests.fakes.panel_world import PanelWorld

# As slow as production on every sign-in, the tests would take minutes.
accounts._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
Scenario = Callable[[PanelWorld], Coroutine[Any, Any, None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Run a scenario in a fresh world."""

    def play(scenario: Scenario, **settings: Any) -> None:
        async def inside() -> None:
            async with PanelWorld(tmp_path, PanelSettings(**settings)) as world:
                world.add("anna")
                await asyncio.wait_for(scenario(world), 100)

        asyncio.run(inside())

    return play
