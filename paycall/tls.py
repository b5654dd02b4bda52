"""Mutual TLS between a site's own processes: both ends show a certificate of the site's authorities.

Rules: TLS 1.3 only; a server demands a certificate of the client role's authority, a client one of the servers'
authority whose name fits the host it dialled. ``paycall certs`` makes authorities and certificates.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from paycall.domain.errors import SettingsError
from paycall.settings import MediaSettings


def server_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """For a listener that only clients of one authority may use.

    Raises
    ------
    SettingsError
        If a file can't be read or does not fit; it is named.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_up(context, certificate, key, client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(certificate: Path, key: Path, server_ca: Path) -> ssl.SSLContext:
    """For dialling a listener of the site.

    Raises
    ------
    SettingsError
        If a file can't be read or does not fit; it is named.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # demands a certificate and checks the host's name
    _set_up(context, certificate, key, server_ca)
    return context


def cell_tls(settings: MediaSettings) -> ssl.SSLContext | None:
    """What a cell or node dials panel and vault with; None where both are Unix sockets of this machine."""
    if settings.control_address.startswith("unix:") and settings.vault_address.startswith("unix:"):
        return None
    certs = settings.certificates
    return client_context(certs / "cell.pem", certs / "cell.key", certs / "ca-server.pem")


def _set_up(context: ssl.SSLContext, certificate: Path, key: Path, ca: Path) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        raise SettingsError(f"the certificate {certificate} with its key {key} cannot be used") from None
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError):
        raise SettingsError(f"the authority's certificate {ca} cannot be used") from None
