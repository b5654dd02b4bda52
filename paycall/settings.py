"""Every setting, typed and frozen, with its default; :mod:`paycall.settings_file` reads them.

Each process takes its own section only. ``config/paycall.toml`` is the commented example.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from paycall.domain.card import Brand
from paycall.domain.errors import InputError
from paycall.domain.money import exponent

RTP_PORTS_PER_CELL = 40
_MAX_SOCKET_PATH_BYTES = 107  # sockaddr_un holds 108, with the closing zero


class Section(BaseModel):
    """Base of the sections: frozen, closed against unknown names, strict where a guess would surprise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Split the lists of environment variables; a truth value is no number."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, str) and get_origin(kind) is tuple:
            return tuple(part.strip() for part in value.split(",") if part.strip())
        if isinstance(value, bool) and kind in (int, float):
            raise ValueError("must be a number")
        return value


def _currency(code: str) -> str:
    try:
        exponent(code)
    except InputError as error:
        raise ValueError(error.text) from None
    return code


def _brands(names: tuple[str, ...]) -> tuple[str, ...]:
    known = [brand.value for brand in Brand]
    if not set(names) <= set(known):
        raise ValueError(f"may name {', '.join(known)}")
    return names


def _ipv4(address: str) -> str:
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        raise ValueError("must be an IPv4 address; the SIP library of this version has no IPv6") from None
    return address


def _no_ipv6(address: str) -> str:
    if "[" in address:
        raise ValueError("must not be an IPv6 address; the SIP library of this version has no IPv6")
    return address


def _networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    try:
        for network in networks:
            ipaddress.IPv4Network(network)
    except ValueError:
        raise ValueError("may name IPv4 addresses and networks, such as 192.0.2.0/24") from None
    return networks


def _sides(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Networks, or one proxy as address:port."""
    for source in sources:
        host, colon, port = source.partition(":")
        if colon and not (port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("may name IPv4 networks, or address:port")
        _networks((host,))
    return sources


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error:
        raise ValueError("must be a regular expression") from None
    return text


def _control_address(address: str) -> str:
    if not (_is_socket(address) or _is_host_and_port(address, "tls:")):
        raise ValueError(f"must be unix:PATH (at most {_MAX_SOCKET_PATH_BYTES} bytes) or tls:HOST:PORT")
    return address


def _vault_address(address: str) -> str:
    if not (_is_socket(address) or _is_host_and_port(address, "https://", "tls:")):
        raise ValueError(f"must be unix:PATH (at most {_MAX_SOCKET_PATH_BYTES} bytes) or https://HOST:PORT")
    return address


def _is_socket(address: str) -> bool:
    path = address.removeprefix("unix:")
    return address.startswith("unix:") and 0 < len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES


def _is_host_and_port(address: str, *schemes: str) -> bool:
    rest = next((address.removeprefix(scheme) for scheme in schemes if address.startswith(scheme)), "")
    try:
        parts = urlsplit(f"//{rest}")
        return bool(parts.hostname and parts.port) and parts.netloc == rest and "@" not in rest
    except ValueError:
        return False


Currency = Annotated[str, AfterValidator(_currency)]
Brands = Annotated[tuple[str, ...], AfterValidator(_brands)]
ControlAddress = Annotated[str, AfterValidator(_control_address)]
VaultAddress = Annotated[str, AfterValidator(_vault_address)]
SipAddress = Annotated[str, Field(max_length=300, pattern=r"^sips?:[^\s<>]+$"), AfterValidator(_no_ipv6)]


class SiteSettings(Section):
    """What all processes of a site share. No secrets here."""

    name: str = Field(default="paycall", pattern=r"^[A-Za-z0-9 ._-]{1,60}$")
    var: Path = Path("var")
    # Certificates of the site's own processes for tls: and https: addresses, named as `paycall certs` names them.
    certificates: Path = Path("var/certs")
    mode: Literal["sandbox", "live"] = "sandbox"
    currency: Currency = "EUR"
    language: Literal["en", "ru", "uk", "hu"] = "en"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class OidcSettings(Section):
    """The site's identity provider (OpenID Connect), for people who sign in there."""

    issuer: str = Field(pattern=r"^(https://|http://(127\.0\.0\.1|localhost)(:|/|$))[^\s?#]*$")
    client_id: str = Field(min_length=1, max_length=300)
    client_secret_file: Path | None = None
    label: str = Field(default="", max_length=60)
    scope: str = "openid profile email"
    # The claim that is the name of the account here; an email has to be verified by the provider.
    name_claim: str = "preferred_username"
    # The claim that says the role, and which of its values is which; empty: roles are given here.
    role_claim: str = ""
    roles: dict[str, Literal["operator", "supervisor", "auditor"]] = Field(default_factory=dict)
    create_accounts: bool = False


_Limit = Annotated[int, Field(ge=0)]
# One number for every currency, or a table of one for each: a currency that is not in it has the limit 0.
_LimitedRole = Annotated[str, Field(pattern="^(operator|supervisor|administrator|api-key)$")]
RoleLimits = dict[_LimitedRole, _Limit | dict[Currency, _Limit]]


class PanelSettings(Section):
    """The panel: its web address, database and where cells and vault are reached."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    # Figures for Prometheus: no port is on under `paycall serve` and off elsewhere; 0 is off.
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    database_url: SecretStr = SecretStr("sqlite:///var/panel/panel.sqlite3")
    control_address: ControlAddress = "unix:var/run/control.sock"
    vault_address: VaultAddress = "unix:var/run/vault-panel.sock"
    idle_minutes: int = Field(default=15, ge=1, le=720)
    settlement: Literal["immediate", "delayed", "manual"] = "immediate"
    settlement_delay_hours: float = Field(default=24.0, gt=0, le=24 * 7)
    test_calls: bool = True
    # How a caller is asked for keys: seconds to the first and between keys, tries a field, brands (none: all).
    first_key_s: float = Field(default=20.0, gt=0, le=600)
    between_keys_s: float = Field(default=5.0, gt=0, le=600)
    field_attempts: int = Field(default=3, ge=1, le=20)
    brands: Brands = ()
    # Whether operators choose in which language a caller is told what to key (sites with prompts).
    caller_languages: bool = False
    # The most of one payment that a role may settle, void and refund, in minor units; none for a role not named.
    settle_limits_minor: RoleLimits = Field(default_factory=dict)
    void_limits_minor: RoleLimits = Field(default_factory=dict)
    refund_limits_minor: RoleLimits = Field(default_factory=dict)
    # Who may let a caller's card be kept for later payments, and charge it (vault.reusable_token_months).
    reusable_token_roles: tuple[_LimitedRole, ...] = ()
    # With true, whoever has no second factor has to set one up before anything else.
    require_second_factor: bool = False
    # Seals what the database keeps of second factors and webhooks; made at the first start.
    secret_file: Path = Path("var/panel/secret")
    # How browsers reach the panel, such as "https://panel.example"; empty: as they call it. For passkeys and OpenID.
    public_url: str = Field(default="", pattern=r"^(https?://[^/\s?#@]+)?$")
    oidc: OidcSettings | None = None
    # Whether events may be sent to addresses in private networks; else only to what is reachable from outside.
    webhook_private_addresses: bool = False
    # Sites that may show /embed in a frame, such as "https://crm.example"; none: nobody.
    frame_ancestors: tuple[str, ...] = ()


class VaultSettings(Section):
    """The vault: one listener for cells, one for the panel, its keys and its acquirer."""

    cell_address: VaultAddress = "unix:var/run/vault-cell.sock"
    panel_address: VaultAddress = "unix:var/run/vault-panel.sock"
    # Figures for Prometheus: no port is on under `paycall serve` and off elsewhere; 0 is off.
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    database_url: SecretStr = SecretStr("sqlite:///var/vault/vault.sqlite3")
    # Who may open the Unix sockets besides the vault's own user; the certificates for https: addresses.
    allowed_uids: tuple[int, ...] = ()
    tls_certificate: Path = Path("var/certs/vault.pem")
    tls_key: Path = Path("var/certs/vault.key")
    cell_ca: Path = Path("var/certs/ca-cell.pem")
    panel_ca: Path = Path("var/certs/ca-panel.pem")
    # Where the key-encrypting keys are; key_options is the provider's own table (docs/security.md).
    key_provider: Literal["file", "shares", "pkcs11", "hashicorp", "aws-kms"] = "file"
    key_options: dict[str, str] = Field(default_factory=dict)
    share_files: tuple[Path, ...] = ()
    key_file: Path = Path("var/vault/keys.json")
    acquirer: str = "sandbox"
    acquirers: dict[str, dict[str, Any]] = Field(default_factory=dict, repr=False)  # may hold credentials
    # Which acquirer gets which payment (gateway_adapters.routing checks them); none fits: ``acquirer``.
    routes: tuple[dict[str, Any], ...] = ()
    acquirer_timeout_s: float = Field(default=30.0, gt=0, le=120)
    retry_limits: Literal["live", "always"] = "live"
    security_code_minutes: float = Field(default=5.0, gt=0, le=5)
    one_time_token_hours: float = Field(default=24.0, gt=0)
    # How long a card that a customer lets be kept lives after its last charge; 0: none is kept.
    reusable_token_months: int = Field(default=0, ge=0, le=60)


class TrunkSettings(Section):
    """A carrier's SIP trunk for calls that operators dial out. Without ``uri`` there are none."""

    uri: SipAddress | None = None  # sip:carrier.example: a number becomes sip:NUMBER@carrier.example
    outbound_proxy: SipAddress | None = None
    registrar: SipAddress | None = None  # the node's first cell registers there; none: nobody registers
    contact: SipAddress | None = None  # where the registrar sends calls: Kamailio; None: to that cell
    register_s: int = Field(default=300, ge=30, le=86_400)
    register_retry_s: int = Field(default=30, ge=1, le=3600)
    username: str = Field(default="", pattern=r"^[^\s<>@:;]*$")
    password_file: Path | None = None
    caller_id: str = Field(default="", pattern=r"^(\+?[0-9]{2,15})?$")
    # What may be dialled, as a regular expression on the whole number: the guard against toll fraud.
    numbers: Annotated[str, AfterValidator(_pattern)] = r"\+?[0-9]{3,15}"


class PromptSettings(Section):
    """What callers are told while they key; every sentence can be replaced, or taken away."""

    heard_by: Literal["nobody", "caller", "both"] = "nobody"
    language: Literal["en", "ru", "uk", "hu"] = "en"
    # A site's own sentences as LANGUAGE/NAME.wav; what is not there is taken from paycall's.
    folder: Path | None = None
    # A tick for each key, and a soft tone while the bank is asked.
    comfort_tones: bool = False


class RecordingSettings(Section):
    """Recordings of what the operator's side heard and said."""

    enabled: bool = False
    folder: Path = Path("var/recordings")
    # Cells encrypt to the public key; whoever has the other one can export.
    public_key: Path = Path("var/recording.pub")
    private_key: Path = Path("var/recording.key")
    keep_days: float = Field(default=30.0, gt=0)
    # With false, silence is recorded while the line is masked.
    captures: bool = True
    # The caller is told at the beginning that the call is recorded.
    notice: bool = True


class MediaSettings(Section):
    """A media node: how many cells, their SIP and RTP ports, where calls go."""

    address: Annotated[str, AfterValidator(_ipv4)] = "127.0.0.1"
    cells: int = Field(default=2, ge=1, le=256)
    calls_per_cell: int = Field(default=2, ge=1, le=2)
    first_sip_port: int = Field(default=5060, ge=1024, le=65000)
    first_rtp_port: int = Field(default=20000, ge=1024, le=65000)
    agent_uri: SipAddress = "sip:operator@127.0.0.1:5090"
    fallback_uris: tuple[SipAddress, ...] = ()
    ring_timeout_s: float = Field(default=60.0, gt=0, le=600)
    route_wait_s: float = Field(default=0.5, ge=0, le=10)
    # An agent who has not answered the INVITE with anything by then cannot be reached.
    reply_timeout_s: float = Field(default=4.0, gt=0, le=32)
    # Who is answered and has not acknowledged it by then is gone (64 * T1 of RFC 3261).
    ack_timeout_s: float = Field(default=32.0, gt=0, le=32)
    # Whose INVITEs are calls that operators dial out, by source: 192.0.2.0/24, or 192.0.2.10:5055 for a proxy.
    operator_networks: Annotated[tuple[str, ...], AfterValidator(_sides)] = ()
    trunk: TrunkSettings = TrunkSettings()
    # The SIP header that names the operator, and from whom it is believed.
    operator_header: str = Field(default="X-Paycall-Operator", pattern=r"^[A-Za-z0-9-]{1,60}$")
    operator_header_from: tuple[Literal["agent", "caller"], ...] = ()
    srtp: Literal["off", "optional", "required"] = "off"
    agent_srtp: Literal["off", "optional", "required"] | None = (
        None  # legs that cells dial to operators; None: srtp
    )
    # With a certificate cell n listens for SIP over TLS on first_sip_tls_port + n (PJSIP's wheel: OpenSSL 1.0.2).
    sip_tls_certificate: Path | None = None
    sip_tls_key: Path | None = None
    first_sip_tls_port: int = Field(default=5660, ge=1024, le=65000)
    mask_policy: Literal["capture", "always"] = "capture"
    mask_replacement: Literal["silence", "comfort", "tone"] = "silence"
    control_address: ControlAddress = "unix:var/run/control.sock"
    vault_address: VaultAddress = "unix:var/run/vault-cell.sock"
    # A cell's certificate and whom it trusts, for tls: and https: addresses.
    certificates: Path = Path("var/certs")
    status_socket: Path = Path("var/run/media.sock")
    prompts: PromptSettings = PromptSettings()
    recording: RecordingSettings = RecordingSettings()
    # Figures for Prometheus: no port is on under `paycall serve` and off elsewhere; 0 is off.
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    retire_after_calls: int = Field(default=500, ge=1)
    retire_above_mb: float = Field(default=150.0, gt=0)


class SandboxSettings(Section):
    """The acquirer simulator."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535)
    api_key_file: Path = Path("var/sandbox/api_key")
    ledger: Path = Path("var/sandbox/ledger.sqlite3")
    rules: Path | None = None
    iso8583_port: int | None = Field(default=None, ge=0, le=65535)
    webhook_urls: dict[str, str] = Field(default_factory=dict)


class KamailioSettings(Section):
    """The SIP proxies in front of the cells and of the operators' phones (docs/connecting.md)."""

    enabled: bool = True  # whether `paycall serve` starts it where it is installed
    folder: Path = Path("var/kamailio")
    carrier_address: Annotated[str, AfterValidator(_ipv4)] | None = None  # None: media.address
    carrier_port: int = Field(default=5050, ge=1024, le=65000)
    operators_address: Annotated[str, AfterValidator(_ipv4)] | None = None
    operators_port: int = Field(default=5055, ge=1024, le=65000)
    # Who may call in; none: everybody who reaches the address.
    carriers: Annotated[tuple[str, ...], AfterValidator(_networks)] = ()
    # With a certificate both instances listen for TLS, one port above.
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    realm: str = Field(default="paycall", pattern=r"^[A-Za-z0-9._-]{1,60}$")
    new_calls_per_cell_s: int = Field(default=10, ge=1, le=100)
    requests_per_source: int = Field(default=100, ge=5, le=100_000)  # new ones in two seconds
    workers: int = Field(default=2, ge=1, le=64)


class Settings(Section):
    """All sections of the file."""

    site: SiteSettings = SiteSettings()
    panel: PanelSettings = PanelSettings()
    vault: VaultSettings = VaultSettings()
    media: MediaSettings = MediaSettings()
    sandbox: SandboxSettings = SandboxSettings()
    kamailio: KamailioSettings = KamailioSettings()
