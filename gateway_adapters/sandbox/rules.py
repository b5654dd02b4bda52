"""The simulator's rules file: which outcome for which authorizations, written in TOML.

Rules are tried from the top; the first that fits, and whose ``chance`` comes up, decides. The file is read again
when it changes, so that a test can change the weather while the simulator runs::

    seed = 7                      # the same chances every time

    [[rule]]
    brand = "mastercard"          # any of: wire, brand, last4, currency, at_least_minor, at_most_minor
    at_least_minor = 100000
    code = "61"                   # ISO 8583, data element 39
    advice = "03"                 # Mastercard's merchant advice code

    [[rule]]
    chance = 0.1                  # one in ten of those that come this far
    fault = "drop_after_booking"  # a name of behaviour.Fault
    delay_s = 0.5                 # after it was booked; booking_delay_s: before

    [[rule]]
    on = "refund"                 # authorize (the default), settle, void, refund or reverse: faults only, and
    pending_s = 5                 # for how long it is only accepted
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway_adapters.sandbox.behaviour import APPROVED_CODE, Behaviour, Fault
from paycall.domain.errors import SettingsError


class Rule(BaseModel):
    """One ``[[rule]]``: conditions and the behaviour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: Literal["authorize", "settle", "void", "refund", "reverse"] = "authorize"
    wire: str | None = None
    brand: str | None = None
    last4: str | None = Field(default=None, pattern=r"^\d{4}$")
    currency: str | None = None
    at_least_minor: int = 0
    at_most_minor: int | None = None
    chance: float = Field(default=1.0, ge=0, le=1)
    code: str = Field(default=APPROVED_CODE, pattern=r"^[0-9A-Z]{2}$")
    advice: str | None = Field(default=None, pattern=r"^\d{2}$")
    delay_s: float = Field(default=0.0, ge=0, le=120)
    booking_delay_s: float = Field(default=0.0, ge=0, le=120)
    pending_s: float = Field(default=0.0, ge=0, le=86_400)
    fault: Fault | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seed: int | None = None
    rule: list[Rule] = []


@dataclass(frozen=True)
class _Loaded:
    changed_at: float
    rules: tuple[Rule, ...]


class Rules:
    """The rules of a file; none without one.

    Raises
    ------
    SettingsError
        If the file cannot be read or a rule is wrong.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._random = random.Random()  # noqa: S311  # weather, not secrets
        self._loaded = self._load(path) if path else _Loaded(0.0, ())

    def match(
        self,
        *,
        wire: str,
        on: str = "authorize",
        brand: str = "",
        last4: str = "",
        currency: str = "",
        amount_minor: int = 0,
    ) -> Behaviour | None:
        """What the rules say of an authorization or operation, or None if no rule fits."""
        if self._path is not None and self._path.stat().st_mtime != self._loaded.changed_at:
            self._loaded = self._load(self._path)
        for rule in self._loaded.rules:
            fits = (
                rule.on == on
                and rule.wire in (None, wire)
                and rule.brand in (None, brand)
                and rule.last4 in (None, last4)
                and rule.currency in (None, currency)
                and rule.at_least_minor <= amount_minor
                and (rule.at_most_minor is None or amount_minor <= rule.at_most_minor)
            )
            if fits and self._random.random() < rule.chance:
                return Behaviour(
                    rule.code, rule.advice, rule.delay_s, rule.fault, rule.booking_delay_s, rule.pending_s
                )
        return None

    def _load(self, path: Path) -> _Loaded:
        try:
            changed_at = path.stat().st_mtime
            file = _File.model_validate(tomllib.loads(path.read_text("utf-8")))
        except OSError:
            raise SettingsError(f"the rules file {path} cannot be read") from None
        except tomllib.TOMLDecodeError:
            raise SettingsError(f"the rules file {path} is not TOML") from None
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            raise SettingsError(f"rules file {path}: {where} is wrong") from None
        if file.seed is not None:
            self._random.seed(file.seed)
        return _Loaded(changed_at, tuple(file.rule))
