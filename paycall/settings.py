"""Every setting, typed and frozen, read once at the start.

Order: the built-in default, then the TOML file (``paycall.toml``; ``--config`` or ``PAYCALL_CONFIG`` names
another), then environment variables: ``PAYCALL_PANEL__PORT=8080`` sets ``port`` in ``[panel]``. Each process
takes its own section only. A wrong setting stops the start with one line that names it and never repeats its
value. ``config/paycall.toml`` is the commented example.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from paycall.domain.errors import SettingsError


class Section(BaseModel):
    """Base of the sections: frozen, closed against unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SiteSettings(Section):
    """What all processes of a site share. No secrets here."""

    name: str = Field(default="paycall", pattern=r"^[A-Za-z0-9 ._-]{1,60}$")
    var: Path = Path("var")
    mode: Literal["sandbox", "live"] = "sandbox"
    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    language: Literal["en", "ru", "uk", "hu"] = "en"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class PanelSettings(Section):
    """The panel: its web address, database and where cells and vault are reached."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    database_url: SecretStr = SecretStr("sqlite:///var/panel/panel.sqlite3")
    control_address: str = "unix:var/run/control.sock"
    vault_address: str = "unix:var/run/vault-panel.sock"
    idle_minutes: int = Field(default=15, ge=1, le=720)
    settlement: Literal["immediate", "delayed", "manual"] = "immediate"
    settlement_delay_hours: float = Field(default=24.0, gt=0, le=24 * 7)
    test_calls: bool = True
    # How a caller is asked for keys: seconds to the first and between keys, tries a field, brands (none: all).
    first_key_s: float = Field(default=20.0, gt=0, le=600)
    between_keys_s: float = Field(default=5.0, gt=0, le=600)
    field_attempts: int = Field(default=3, ge=1, le=20)
    brands: tuple[str, ...] = ()
    # The most that a role may refund at once, in minor units; a role that is not named has no limit.
    refund_limits_minor: dict[str, int] = Field(default_factory=dict)
    # Sites that may show /embed in a frame, such as "https://crm.example"; none: nobody.
    frame_ancestors: tuple[str, ...] = ()


class VaultSettings(Section):
    """The vault: one listener for cells, one for the panel, its keys and its acquirer."""

    cell_address: str = "unix:var/run/vault-cell.sock"
    panel_address: str = "unix:var/run/vault-panel.sock"
    database_url: SecretStr = SecretStr("sqlite:///var/vault/vault.sqlite3")
    key_provider: Literal["file"] = "file"
    key_file: Path = Path("var/vault/keys.json")
    acquirer: str = "sandbox"
    acquirers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    acquirer_timeout_s: float = Field(default=30.0, gt=0, le=120)
    security_code_minutes: float = Field(default=5.0, gt=0, le=5)
    one_time_token_hours: float = Field(default=24.0, gt=0)


class MediaSettings(Section):
    """A media node: how many cells, their SIP and RTP ports, where calls go."""

    address: str = "127.0.0.1"
    cells: int = Field(default=2, ge=1, le=256)
    calls_per_cell: int = Field(default=2, ge=1, le=2)
    first_sip_port: int = Field(default=5060, ge=1024, le=65000)
    first_rtp_port: int = Field(default=20000, ge=1024, le=65000)
    agent_uri: str = "sip:operator@127.0.0.1:5090"
    fallback_uris: tuple[str, ...] = ()
    ring_timeout_s: float = Field(default=60.0, gt=0, le=600)
    route_wait_s: float = Field(default=0.5, ge=0, le=10)
    srtp: Literal["off", "optional", "required"] = "off"
    mask_policy: Literal["capture", "always"] = "capture"
    mask_replacement: Literal["silence", "comfort", "tone"] = "silence"
    control_address: str = "unix:var/run/control.sock"
    vault_address: str = "unix:var/run/vault-cell.sock"


class SandboxSettings(Section):
    """The acquirer simulator."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535)
    api_key_file: Path = Path("var/sandbox/api_key")
    ledger: Path = Path("var/sandbox/ledger.sqlite3")


class Settings(Section):
    """All sections of the file."""

    site: SiteSettings = SiteSettings()
    panel: PanelSettings = PanelSettings()
    vault: VaultSettings = VaultSettings()
    media: MediaSettings = MediaSettings()
    sandbox: SandboxSettings = SandboxSettings()


def load_settings(path: Path | None = None, environ: dict[str, str] | None = None) -> Settings:
    """Read file and environment.

    Parameters
    ----------
    path
        The TOML file; None takes ``paycall.toml`` if it is there, or nothing.
    environ
        The environment; None takes the process's.

    Raises
    ------
    SettingsError
        One line naming the first wrong setting.
    """
    env = dict(os.environ) if environ is None else environ
    named = path or (Path(env["PAYCALL_CONFIG"]) if "PAYCALL_CONFIG" in env else None)
    file = named or Path("paycall.toml")
    data: dict[str, Any] = {}
    if named is not None or file.exists():
        try:
            data = tomllib.loads(file.read_text("utf-8"))
        except OSError:
            raise SettingsError(f"the settings file {file} cannot be read") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise SettingsError(f"the settings file {file} is not TOML") from None
    for name, value in env.items():
        if name.startswith("PAYCALL_") and "__" in name:
            section, _, key = name.removeprefix("PAYCALL_").lower().partition("__")
            target = data.setdefault(section, {})
            if not isinstance(target, dict):
                raise SettingsError(f"[{section}] must be a table")
            target[key] = value
    _place_under_var(data)
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"setting {where}: {first['msg']}") from None


def _place_under_var(data: dict[str, Any]) -> None:
    """Sockets, keys and ledgers lie under ``[site] var`` unless a setting places them elsewhere."""
    site = data.get("site", {})
    var = str(site.get("var", "var")) if isinstance(site, dict) else "var"
    sandbox = data.get("sandbox", {})
    host, port = (sandbox.get("host"), sandbox.get("port")) if isinstance(sandbox, dict) else (None, None)
    key_file = f"{var}/sandbox/api_key"
    places: dict[tuple[str, str], Any] = {
        ("panel", "database_url"): f"sqlite:///{var}/panel/panel.sqlite3",
        ("panel", "control_address"): f"unix:{var}/run/control.sock",
        ("panel", "vault_address"): f"unix:{var}/run/vault-panel.sock",
        ("vault", "database_url"): f"sqlite:///{var}/vault/vault.sqlite3",
        ("vault", "cell_address"): f"unix:{var}/run/vault-cell.sock",
        ("vault", "panel_address"): f"unix:{var}/run/vault-panel.sock",
        ("vault", "key_file"): f"{var}/vault/keys.json",
        ("vault", "acquirers"): {
            "sandbox": {"url": f"http://{host or '127.0.0.1'}:{port or 8090}", "api_key_file": key_file}
        },
        ("media", "control_address"): f"unix:{var}/run/control.sock",
        ("media", "vault_address"): f"unix:{var}/run/vault-cell.sock",
        ("sandbox", "ledger"): f"{var}/sandbox/ledger.sqlite3",
        ("sandbox", "api_key_file"): key_file,
    }
    for (section, key), place in places.items():
        target = data.setdefault(section, {})
        if isinstance(target, dict):
            target.setdefault(key, place)
