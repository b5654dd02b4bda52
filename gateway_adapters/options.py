"""An acquirer's table of settings, read with one line of complaint that names the setting, never its value."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from paycall.domain.errors import SettingsError
from paycall.domain.secret import Secret

_LOOPBACK_NAMES = ("localhost",)


class Options:
    """The settings table of one acquirer. Read every setting, then call ``done()``.

    Raises
    ------
    SettingsError
        From every method, with the setting's full name.
    """

    def __init__(self, acquirer: str, table: Mapping[str, Any]) -> None:
        self._acquirer = acquirer
        self._table = dict(table)
        self._read: set[str] = set()

    def text(self, name: str, default: str | None = None) -> str:
        """A text; required if there is no default."""
        value = self._take(name, default)
        if not isinstance(value, str) or not value:
            raise self._wrong(name, "must be a text")
        return value

    def secret(self, name: str) -> Secret:
        """A credential: a text that is never shown."""
        value = self._take(name, None)
        if not isinstance(value, str) or not value or not value.isascii():
            raise self._wrong(name, "must be given, in ASCII")
        return Secret(value)

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        """A number within bounds; a text that is a number counts (environment variables are texts)."""
        value = self._take(name, default)
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self._wrong(name, "must be a number") from None
        if isinstance(value, bool) or not least <= number <= most:
            raise self._wrong(name, f"must be between {least:g} and {most:g}")
        return number

    def table(self, name: str) -> dict[str, Any]:
        """A table; empty if it is not given."""
        value = self._take(name, {})
        if not isinstance(value, Mapping):
            raise self._wrong(name, "must be a table")
        return dict(value)

    def flag(self, name: str) -> bool:
        """True or false; false if it is not given."""
        value = self._take(name, False)
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower())
        if not isinstance(value, bool):
            raise self._wrong(name, "must be true or false")
        return value

    def url(
        self,
        name: str,
        default: str | None = None,
        *,
        schemes: tuple[str, str] = ("https", "http"),
        plain: str = "http",
        plain_anywhere: bool = False,
    ) -> str:
        """An address to send cards to: encrypted, or in plain on this machine's loopback (PCI DSS 4.2.1)."""
        value = self.text(name, default).rstrip("/")
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname or parts.username or parts.password:
            raise self._wrong(name, f"must be an address such as {schemes[0]}://host")
        if parts.scheme == plain and not (plain_anywhere or _is_loopback(parts.hostname)):
            raise self._wrong(name, f"must begin with {schemes[0]}:// ({plain} only to 127.0.0.1)")
        return value

    def done(self) -> None:
        """Refuse settings that nobody reads: they are most likely misspelt."""
        for name in sorted(set(self._table) - self._read):
            raise self._wrong(name, "is not a setting of this acquirer")

    def _take(self, name: str, default: Any) -> Any:
        self._read.add(name)
        return self._table.get(name, default)

    def _wrong(self, name: str, what: str) -> SettingsError:
        return SettingsError(f"setting vault.acquirers.{self._acquirer}.{name}: {what}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in _LOOPBACK_NAMES
