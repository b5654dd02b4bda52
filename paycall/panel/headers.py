"""What every answer carries, and which requests are refused before anything looks at them.

Rules: the content security policy is an object, written out once. A request that changes something and comes
from another site's page is refused by its Fetch metadata (or its Origin, where a browser sends no metadata);
programs send neither and have no cookie of somebody else's browser. A body is at most 64 KiB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paycall.panel.problems import problem

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_BODY_BYTES = 64 * 1024


@dataclass(frozen=True)
class ContentSecurityPolicy:
    """The panel's policy: everything from here, nothing inline, framed by nobody but whom a setting names."""

    frame_ancestors: tuple[str, ...] = ()
    directives: tuple[tuple[str, str], ...] = field(
        default=(
            ("default-src", "'none'"),
            ("script-src", "'self'"),
            ("style-src", "'self'"),
            ("img-src", "'self' data:"),
            ("connect-src", "'self'"),
            ("form-action", "'self'"),
            ("base-uri", "'none'"),
        )
    )

    def __str__(self) -> str:
        ancestors = " ".join(self.frame_ancestors) or "'none'"
        parts = [f"{name} {value}" for name, value in self.directives]
        return "; ".join([*parts, f"frame-ancestors {ancestors}"])


class SecurityHeaders:
    """Puts the policy and its companions on every answer."""

    def __init__(self, app: ASGIApp, frame_ancestors: tuple[str, ...] = (), *, https: bool = False) -> None:
        self._app = app
        self._strict = str(ContentSecurityPolicy())
        self._embedded = str(ContentSecurityPolicy(frame_ancestors=frame_ancestors))
        self._may_embed = bool(frame_ancestors)
        self._https = https  # browsers come by TLS, which may end at a proxy before us

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        embedded = self._may_embed and scope["path"].startswith("/embed")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = self._embedded if embedded else self._strict
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "same-origin"
                headers["cross-origin-opener-policy"] = "same-origin"
                headers["cross-origin-resource-policy"] = "same-origin"
                headers["permissions-policy"] = "camera=(), microphone=(), geolocation=(), payment=()"
                if not embedded:
                    headers["x-frame-options"] = "DENY"
                if self._https or scope["scheme"] == "https":
                    headers["strict-transport-security"] = "max-age=31536000"
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class RequestGuard:
    """Refuses what another site's page sends, and what is too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not same_site_request(headers):
            await problem(403, "cross-site", "this came from another site's page")(scope, receive, send)
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES or "transfer-encoding" in headers:
            await problem(413, "too-large", "the request is too large")(scope, receive, send)
            return
        await self._app(scope, receive, send)


def same_site_request(headers: Headers) -> bool:
    """Whether a changing request may be looked at: our own page's, a person's own doing, or a program's."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return True
    return urlsplit(origin).netloc == headers.get("host")
