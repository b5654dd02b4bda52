"""The carrier's trunk: where calls are dialled out, under which number, and who may dial.

Rules: one account of a cell's for the trunk; digest credentials stay in it and are never printed. Every cell dials
with them; one process of a node registers, its first cell: a second registration of the same account would take the
carrier's calls from the first. Where Kamailio stands in front the contact that it registers is Kamailio's, by an
account that does nothing else: requests of its own calls still need the cell's. Which side an INVITE comes from is
told by its source address, never by what it says.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pjsua2 as pj
from pydantic import SecretStr

from paycall.domain.errors import NumberNotAllowedError, SettingsError
from paycall.media.dialling import Target
from paycall.settings import MediaSettings, TrunkSettings

DEFAULT_SIP_PORT = "5060"


@dataclass(frozen=True)
class Trunk:
    """The trunk as one cell uses it."""

    settings: TrunkSettings
    registers: bool
    password: SecretStr

    @property
    def registers_now(self) -> bool:
        """Whether this cell registers, and there is a registrar."""
        return self.registers and self.settings.registrar is not None

    @property
    def registers_another(self) -> bool:
        """Whether what it registers is another's address."""
        return self.registers_now and self.settings.contact is not None

    @property
    def caller_id(self) -> str:
        """The number that customers see."""
        return self.settings.caller_id

    def adjust(self, account: pj.AccountConfig) -> None:
        """Make a cell's account the trunk's."""
        self._adjust_identity(account)
        if self.registers_now and not self.registers_another:
            self._adjust_registration(account)

    def adjust_registering(self, account: pj.AccountConfig) -> None:
        """Make an account the one that registers another's address."""
        self._adjust_identity(account)
        self._adjust_registration(account)
        account.sipConfig.contactForced = str(self.settings.contact)
        account.priority = -1  # nobody calls it

    def _adjust_identity(self, account: pj.AccountConfig) -> None:
        assert self.settings.uri is not None  # noqa: S101 - there is no Trunk without
        account.idUri = self._own_uri(self.settings.username or self.caller_id or "paycall")
        if self.settings.outbound_proxy is not None:
            account.sipConfig.proxies.append(f"{self.settings.outbound_proxy};lr;hide")
        if self.settings.username:
            account.sipConfig.authCreds.append(
                pj.AuthCredInfo("digest", "*", self.settings.username, 0, self.password.get_secret_value())
            )

    def _adjust_registration(self, account: pj.AccountConfig) -> None:
        account.regConfig.registrarUri = str(self.settings.registrar)
        account.regConfig.timeoutSec = self.settings.register_s
        account.regConfig.retryIntervalSec = self.settings.register_retry_s
        account.regConfig.firstRetryIntervalSec = 1

    def target(self, number: str) -> Target:
        """How to reach this number, and as whom.

        Raises
        ------
        NumberNotAllowedError
            By the setting ``numbers``.
        """
        if re.fullmatch(self.settings.numbers, number) is None:
            raise NumberNotAllowedError
        if not self.caller_id:
            return Target(self._uri(number))
        own = self._own_uri(self.caller_id)
        return Target(self._uri(number), (("P-Asserted-Identity", f"<{own}>"),), own)

    def _uri(self, user: str) -> str:
        scheme, _, rest = str(self.settings.uri).partition(":")
        return f"{scheme}:{user}@{rest.rpartition('@')[2]}"

    def _own_uri(self, user: str) -> str:
        """The same without parameters: it stands in From and P-Asserted-Identity."""
        return self._uri(user).partition(";")[0]


@dataclass(frozen=True)
class TrunkAccount:
    """The trunk, and the account of PJSIP's that dials there."""

    trunk: Trunk
    account: pj.Account


def trunk_of(settings: MediaSettings, cell_index: int) -> Trunk | None:
    """The trunk of this cell, None where there is none.

    Raises
    ------
    SettingsError
        The password's file can't be read; it is named, its content never.
    """
    trunk = settings.trunk
    if trunk.uri is None:
        return None
    return Trunk(trunk, cell_index == 0, _password(trunk))


def _password(trunk: TrunkSettings) -> SecretStr:
    if trunk.password_file is None:
        return SecretStr("")
    try:
        return SecretStr(trunk.password_file.read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"the trunk's password file {trunk.password_file} cannot be read") from None


def from_operators(peer: str, networks: Sequence[str]) -> bool:
    """Whether ``peer`` (host:port of a datagram or connection) is on the operators' side.

    ``networks`` are IPv4 networks, or address:port for a proxy that shares its address with the carrier's.
    """
    host, _, port = peer.rpartition(":")
    for network in networks:
        if ":" in network:
            if network == f"{host}:{port or DEFAULT_SIP_PORT}":
                return True
            continue
        try:
            if ipaddress.IPv4Address(host) in ipaddress.IPv4Network(network):
                return True
        except ValueError:
            return False
    return False
