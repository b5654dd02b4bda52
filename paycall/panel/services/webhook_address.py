"""Where webhooks may be sent: not into the site's own network.

Rules: HTTPS, except to this very machine in sandbox mode. A name is looked up once and the connection goes to an
address that was checked, so that a name which changes its mind in between (DNS rebinding) leads nowhere else.
Redirects are not followed. ``webhook_private_addresses`` allows private networks, for sites that mean it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from paycall.domain.errors import InputError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # but for :: and ::1, which are themselves


class WebhookUrlError(InputError):
    """The address is not one that events may be sent to."""

    code = "webhook-url"
    text = "a webhook needs an https:// address that is reachable from outside, without a name in it"


@dataclass(frozen=True)
class Places:
    """Which places a site's settings allow."""

    sandbox: bool
    private: bool

    def allow(self, address: IpAddress, scheme: str) -> bool:
        """Whether a request of this scheme may go to this address."""
        inner = _inner(address)
        if inner.is_loopback:
            return self.sandbox
        if scheme != "https" or inner.is_multicast or inner.is_unspecified or inner.is_link_local:
            return False
        return inner.is_global or (self.private and inner.is_private)


@dataclass(frozen=True)
class Target:
    """What a request is made with: the checked address in the URL, the name in ``Host`` and in TLS."""

    url: str
    headers: dict[str, str]
    extensions: dict[str, Any]


def check_url(url: str, places: Places) -> None:
    """Refuse an address that can be seen to be wrong without asking anybody.

    Raises
    ------
    WebhookUrlError
        If it is not HTTPS, has a user, a fragment or no host, or is a literal address that is not allowed.
    """
    parts = _split(url)
    literal = _literal(parts)
    if literal is not None and not places.allow(literal, parts.scheme):
        raise WebhookUrlError
    if parts.scheme == "http" and literal is None:  # a name could be anybody's
        raise WebhookUrlError


async def find_target(url: str, places: Places) -> Target:
    """Look the name up and pick the address to connect to.

    Raises
    ------
    WebhookUrlError
        If it is not allowed now, or cannot be found.
    """
    check_url(url, places)
    parts = _split(url)
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise WebhookUrlError("the webhook's name cannot be found") from None
    addresses = [ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found]
    # One forbidden address is enough to refuse: which of them answers is not ours to choose.
    if not addresses or not all(places.allow(address, parts.scheme) for address in addresses):
        raise WebhookUrlError
    first = addresses[0]
    place = f"[{first}]" if first.version == 6 else str(first)
    rest = parts._replace(netloc=f"{place}:{port}").geturl()
    return Target(rest, {"host": parts.netloc}, {"sni_hostname": host})


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise WebhookUrlError from None
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    usable = parts.scheme in ("https", "http") and parts.hostname and port != 0
    if not plain or not usable or parts.fragment or "@" in parts.netloc:
        raise WebhookUrlError
    return parts


def _literal(parts: SplitResult) -> IpAddress | None:
    try:
        return ipaddress.ip_address(str(parts.hostname))
    except ValueError:
        return None


def _inner(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
