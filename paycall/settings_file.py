"""Read the settings, once, at the start.

Order: the built-in default, then the TOML file (``paycall.toml``; ``--config`` or ``PAYCALL_CONFIG`` names
another), then environment variables: ``PAYCALL_PANEL__PORT=8080`` sets ``port`` in ``[panel]``, further ``__``
lead into tables (``PAYCALL_VAULT__ACQUIRERS__STRIPE__API_KEY_FILE``), lists are written with commas. A wrong
setting stops the start with one line that names it and never repeats its value.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from paycall.domain.errors import SettingsError
from paycall.settings import RTP_PORTS_PER_CELL, MediaSettings, Settings


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
    configured = env.get("PAYCALL_CONFIG")
    named = path or (Path(configured) if configured else None)
    file = named or Path("paycall.toml")
    data = _read(file) if named is not None or file.exists() else {}
    for name, value in env.items():
        if name.startswith("PAYCALL_") and "__" in name:
            _set(data, name.removeprefix("PAYCALL_").lower().split("__"), value)
    _place_under_var(data)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        unknown = first["type"] == "extra_forbidden"
        what = "there is no such setting" if unknown else first["msg"].removeprefix("Value error, ")
        raise _wrong([str(part) for part in first["loc"]], what) from None
    _check_ports(settings.media)
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError:
        raise SettingsError(f"the settings file {file} cannot be read") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the settings file {file} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:  # its text quotes the file: only the line's number is taken
        line = re.search(r"line (\d+)", str(error))
        where = f" (line {line[1]})" if line else ""
        raise SettingsError(f"the settings file {file} is not TOML{where}") from None


def _set(data: dict[str, Any], names: list[str], value: str) -> None:
    """Put an environment variable's value where its name says."""
    table = data
    for depth, name in enumerate(names[:-1], start=1):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise _wrong(names[:depth], "must be a table")
    table[names[-1]] = value


def _wrong(names: list[str], what: str) -> SettingsError:
    """One line, whatever the names are."""
    return SettingsError(f"setting {' '.join('.'.join(names).split())}: {what}")


def _check_ports(media: MediaSettings) -> None:
    """Every port of the cells exists, and SIP and RTP do not meet."""
    sip_end = media.first_sip_port + media.cells
    rtp_end = media.first_rtp_port + media.cells * RTP_PORTS_PER_CELL
    if sip_end > 65536:
        raise SettingsError("setting media.first_sip_port: the last cell's port would be above 65535")
    if rtp_end > 65536:
        raise SettingsError(
            f"setting media.first_rtp_port: a cell takes {RTP_PORTS_PER_CELL} ports; the last would be above 65535"
        )
    if media.first_sip_port < rtp_end and media.first_rtp_port < sip_end:
        raise SettingsError(
            f"setting media.first_rtp_port: the cells' RTP ports ({RTP_PORTS_PER_CELL} each) would meet SIP's"
        )
    tls, tls_end = media.first_sip_tls_port, media.first_sip_tls_port + media.cells
    others = ((media.first_sip_port, sip_end), (media.first_rtp_port, rtp_end))
    if media.sip_tls_certificate and any(tls < end and first < tls_end for first, end in others):
        raise SettingsError(
            "setting media.first_sip_tls_port: the cells' TLS ports would meet SIP's or RTP's"
        )


def _place_under_var(data: dict[str, Any]) -> None:
    """Sockets, keys and ledgers lie under ``[site] var`` unless a setting places them elsewhere."""
    site = data.get("site", {})
    var = str(site.get("var", "var")) if isinstance(site, dict) else "var"
    certificates = str(site.get("certificates", f"{var}/certs")) if isinstance(site, dict) else f"{var}/certs"
    sandbox = data.get("sandbox", {})
    host, port = (sandbox.get("host"), sandbox.get("port")) if isinstance(sandbox, dict) else (None, None)
    key_file = f"{var}/sandbox/api_key"
    places: dict[tuple[str, str], Any] = {
        ("site", "certificates"): certificates,
        ("panel", "database_url"): f"sqlite:///{var}/panel/panel.sqlite3",
        ("panel", "control_address"): f"unix:{var}/run/control.sock",
        ("panel", "secret_file"): f"{var}/panel/secret",
        ("panel", "vault_address"): f"unix:{var}/run/vault-panel.sock",
        ("vault", "database_url"): f"sqlite:///{var}/vault/vault.sqlite3",
        ("vault", "cell_address"): f"unix:{var}/run/vault-cell.sock",
        ("vault", "panel_address"): f"unix:{var}/run/vault-panel.sock",
        ("vault", "key_file"): f"{var}/vault/keys.json",
        ("vault", "tls_certificate"): f"{certificates}/vault.pem",
        ("vault", "tls_key"): f"{certificates}/vault.key",
        ("vault", "cell_ca"): f"{certificates}/ca-cell.pem",
        ("vault", "panel_ca"): f"{certificates}/ca-panel.pem",
        ("vault", "acquirers"): {
            "sandbox": {"url": f"http://{host or '127.0.0.1'}:{port or 8090}", "api_key_file": key_file}
        },
        ("media", "certificates"): certificates,
        ("media", "control_address"): f"unix:{var}/run/control.sock",
        ("media", "vault_address"): f"unix:{var}/run/vault-cell.sock",
        ("media", "status_socket"): f"{var}/run/media.sock",
        ("kamailio", "folder"): f"{var}/kamailio",
        ("sandbox", "ledger"): f"{var}/sandbox/ledger.sqlite3",
        ("sandbox", "api_key_file"): key_file,
    }
    for (section, key), place in places.items():
        target = data.setdefault(section, {})
        if isinstance(target, dict):
            target.setdefault(key, place)
    media = data["media"]
    recording = media.setdefault("recording", {}) if isinstance(media, dict) else None
    if isinstance(recording, dict):
        for key, name in (
            ("folder", "recordings"),
            ("public_key", "recording.pub"),
            ("private_key", "recording.key"),
        ):
            recording.setdefault(key, f"{var}/{name}")
