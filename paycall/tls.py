"""Mutual TLS between a site's own processes: both ends show a certificate of the site's authorities.

Rules: TLS 1.3 only; a server demands a certificate of the client role's authority, a client one of the servers'
authority whose name fits the host it dialled. ``paycall certs`` makes authorities and certificates. Files that were
replaced are taken for the next connection; those that are open go on. Files that do not fit together are left, and
told of in the log: the ones before serve on. An authority that was taken away is not trusted by the next connection.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import structlog

from paycall.domain.errors import SettingsError
from paycall.settings import MediaSettings

log = structlog.get_logger(__name__)


class RenewingContext(ssl.SSLContext):
    """A context that looks at its files whenever a connection is made.

    The connection itself is of a context read from them: one can be told of another authority, but never to forget
    one. What is set on this object does not reach a connection.
    """

    def follow(self, certificate: Path, key: Path, ca: Path) -> None:
        """Use these files, now and whenever they were replaced.

        Raises
        ------
        SettingsError
            If one can't be read or does not fit; it is named.
        """
        self._files = (certificate, key, ca)
        self._seen = self._state()
        self._newest = _read(self.protocol, *self._files)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """As ``ssl.SSLContext``, by the newest files."""
        self._renew()
        return self._newest.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As ``ssl.SSLContext``, by the newest files."""
        self._renew()
        return self._newest.wrap_socket(*args, **kwargs)

    def _renew(self) -> None:
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._newest = _read(self.protocol, *self._files)
        except SettingsError:
            log.warning("certificate_not_renewed", path=str(self._files[0]))
            return
        log.info("certificate_renewed", path=str(self._files[0]))

    def _state(self) -> list[tuple[int, int] | None]:
        """What tells a replaced file: its inode and the moment it was written."""
        state: list[tuple[int, int] | None] = []
        for path in self._files:
            try:
                found = path.stat()
            except OSError:
                state.append(None)
            else:
                state.append((found.st_ino, found.st_mtime_ns))
        return state


def server_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """For a listener that only clients of one authority may use.

    Raises
    ------
    SettingsError
        If a file can't be read or does not fit; it is named.
    """
    context = RenewingContext(ssl.PROTOCOL_TLS_SERVER)
    context.follow(certificate, key, client_ca)
    return context


def client_context(certificate: Path, key: Path, server_ca: Path) -> ssl.SSLContext:
    """For dialling a listener of the site.

    Raises
    ------
    SettingsError
        If a file can't be read or does not fit; it is named.
    """
    context = RenewingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.follow(certificate, key, server_ca)
    return context


def cell_tls(settings: MediaSettings) -> ssl.SSLContext | None:
    """What a cell or node dials panel and vault with; None where both are Unix sockets of this machine."""
    if settings.control_address.startswith("unix:") and settings.vault_address.startswith("unix:"):
        return None
    certs = settings.certificates
    return client_context(certs / "cell.pem", certs / "cell.key", certs / "ca-server.pem")


def _read(protocol: int, certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)  # a client's checks the host's name, too
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        raise SettingsError(f"the certificate {certificate} with its key {key} cannot be used") from None
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError):
        raise SettingsError(f"the authority's certificate {ca} cannot be used") from None
    return context
