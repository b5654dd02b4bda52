"""The vault's two doors: who may come in is decided before a byte of a request is read.

A Unix socket asks the kernel for the peer's credentials (SO_PEERCRED) and lets listed users in; on the network
TLS demands a certificate from the role's own authority. Whoever is refused is written down. What is known of the
peer becomes the request's ``client``, and with it the source in the audit log.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: ucred(7)


def protocol_for(allowed_uids: frozenset[int], refused: Callable[[str], None]) -> type[H11Protocol]:
    """A uvicorn protocol (``http=`` of its configuration) that knows and checks its peer.

    Parameters
    ----------
    allowed_uids
        The users that may open the Unix socket; a TLS listener has checked its peer already.
    refused
        Called with the peer's description when it is turned away.
    """

    class PeerProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            peer = transport.get_extra_info("socket")
            tls = transport.get_extra_info("ssl_object")
            if peer is not None and peer.family == socket.AF_UNIX:
                pid, uid, _ = _CREDENTIALS.unpack(
                    peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                )
                self.client = (f"uid={uid} pid={pid}", 0)
                if uid not in allowed_uids:
                    refused(self.client[0])
                    transport.abort()
            elif tls is not None and self.client is not None:
                self.client = (f"{_name(tls)} {self.client[0]}", self.client[1])

    return PeerProtocol


def _name(tls: ssl.SSLObject) -> str:
    certificate: dict[str, Any] = tls.getpeercert() or {}
    return next((value for rdn in certificate.get("subject", ()) for _, value in rdn), "no certificate")
