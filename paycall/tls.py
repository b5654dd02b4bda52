"""TLS between paycall's processes: both sides show a certificate, and each role has a certificate authority.

Whoever listens trusts one authority only, the one of the role that may call there: a panel's certificate does
not open a cell's door, because it was signed by another. TLS 1.3 alone: both ends are ours.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from paycall.domain.errors import SettingsError


def server_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """For a listener that demands a client's certificate from ``client_ca``.

    Raises
    ------
    SettingsError
        If a file can't be read or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _loaded(context, certificate, key, client_ca)


def client_context(certificate: Path, key: Path, server_ca: Path) -> ssl.SSLContext:
    """For a client that shows a certificate and trusts ``server_ca`` alone; the server's name is checked.

    Raises
    ------
    SettingsError
        If a file can't be read or is not what it should be.
    """
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key, server_ca)


def _loaded(context: ssl.SSLContext, certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    path = authority
    try:
        context.load_verify_locations(cafile=authority)
        path = certificate
        context.load_cert_chain(certificate, key)
    except OSError:  # ssl.SSLError is one
        raise SettingsError(
            f"the certificate file {path} (or its key) cannot be used; see: paycall certs"
        ) from None
    return context
